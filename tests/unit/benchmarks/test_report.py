"""The table and the picture of a kept result."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from benchmarks.picture import bars, picture
from benchmarks.report import lines, table
from tests.command_line import run

SVG = "{http://www.w3.org/2000/svg}"


def samples(**figures: float) -> list[dict[str, float]]:
    return [dict(figures)]


RESULT: dict[str, Any] = {
    "machine": {
        "date": "2026-01-02 03:04 UTC",
        "cpu": "A & B <processor>",
        "cores": 2,
        "flags": ["avx2"],
        "native_bfloat16": False,
        "memory_gb": 16.0,
        "gpu": "",
        "python": "3.11.0",
        "versions": {"torch": "2.13.0"},
    },
    "options": {"device": "cpu", "repetitions": 3, "window_s": 2.0, "mixed_window_s": 5.0},
    "generator": {"requests_per_s_1": 9000, "requests_per_s_16": 20000, "cpu_us_1": 50.0, "cpu_us_16": 40.0},
    "servers": {
        "ours": {"version": "abc", "settings": "defaults"},
        "infinity float32": {"version": "0.0.78", "settings": "float32"},
    },
    "absent": {"vllm": "does not start here: no AVX512"},
    "errors": [],
    "checks": [
        {
            "server": "infinity float32",
            "against": "ours",
            "min_cosine": 0.99999,
            "max_score_difference": 0.001,
            "score_spread": 0.4,
            "right": True,
        }
    ],
    "samples": {
        "ours": {
            "single_1": [{"p50_ms": 2.0}, {"p50_ms": 90.0}, {"p50_ms": 2.5}],
            "passages_512": samples(items_per_s=400.0, foreign_cores=0.1, generator_cores=0.02),
            "mixed": samples(
                idle_p50_ms=2, idle_p99_ms=4, loaded_p50_ms=9, loaded_p99_ms=20, bulk_per_s=380, bulk_share=95
            ),
            "memory": samples(rest_mb=500, peak_mb=600),
        },
        "infinity float32": {"single_1": samples(p50_ms=10.0), "passages_512": samples(items_per_s=100.0)},
        "infinity bfloat16": {"single_1": samples(p50_ms=8.0), "passages_512": samples(items_per_s=50.0)},
        "OpenVINO in process": {"single_1": samples(p50_ms=2.0), "passages_512": samples(items_per_s=500.0)},
        "hardware limit": {"single_1": samples(p50_ms=0.5), "passages_512": samples(items_per_s=800.0)},
    },
}


def by_title(result: dict[str, Any], start: str) -> list[str]:
    row = next(line for line in table(result).splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_ratios_are_against_the_best_variant_and_above_one_when_ours_is_better() -> None:
    single = ["2.50 ms", "infinity bfloat16", "3.20x", "0.80x", "20 %"]
    assert by_title(RESULT, "one short text, 1 connection")[-5:] == single
    assert by_title(RESULT, "512 passages")[-5:] == ["400 texts/s", "infinity float32", "4.00x", "0.80x", "50 %"]


def test_any_server_may_be_the_best_peer_but_ours_and_the_limits() -> None:
    result = copy.deepcopy(RESULT)
    result["samples"]["vllm"] = {"passages_512": samples(items_per_s=380.0)}
    result["samples"]["ours int8"] = {"passages_512": samples(items_per_s=900.0)}
    assert by_title(result, "512 passages")[-6:] == ["900 texts/s", "400 texts/s", "vllm", "1.05x", "0.80x", "50 %"]
    assert "Below the target against the best peer: 512 passages in one request (1.05x of 1.15x)." in table(result)


def test_ours_is_the_last_server_and_every_row_is_complete() -> None:
    rows = [line for line in table(RESULT).splitlines() if line.startswith("|")]
    assert by_title(RESULT, "work")[3:7] == ["vllm", "OpenVINO in process", "hardware limit", "ours"]
    assert len({row.count("|") for row in rows}) == 1


def test_missing_servers_and_figures_are_said_and_not_guessed() -> None:
    text = table(RESULT)
    assert "vllm has no figures: does not start here: no AVX512" in text
    assert by_title(RESULT, "memory at rest")[1:] == [*[""] * 5, "500 MB", *[""] * 4]
    assert "GPU figures are not measured" in text


def test_wrong_answers_are_shouted() -> None:
    wrong = copy.deepcopy(RESULT)
    wrong["checks"][0]["right"] = False
    assert "WRONG ANSWERS" in table(wrong)


def test_the_fastest_has_the_longest_bar_whatever_the_unit() -> None:
    for line in lines(RESULT):
        lengths = {name: length for name, _, length in bars(line)}
        assert max(lengths.values()) == 1
        assert all(0 < length <= 1 for length in lengths.values())
    single = {name: length for name, _, length in bars(lines(RESULT)[0])}
    assert single == {"ours": pytest.approx(0.8), "infinity": pytest.approx(0.25), "OpenVINO in process": 1}


def test_the_picture_is_well_formed_and_has_a_bar_for_each_figure() -> None:
    root = ET.fromstring(picture(RESULT))
    legend = 3
    drawn = sum(len(bars(line)) for line in lines(RESULT) if not line.metric.relative)
    assert len(root.findall(f"{SVG}rect")) == drawn + legend
    width = float(root.attrib["width"])
    for bar in root.findall(f"{SVG}rect"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) < width
    assert any("A & B <processor>" in (text.text or "") for text in root.findall(f"{SVG}text"))


def test_a_kept_result_is_shown_again(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(RESULT))
    assert run("bench", "--report", kept) == 0
    assert capsys.readouterr().out.strip() == table(RESULT).strip()
    assert (tmp_path / "kept.svg").read_text() == picture(RESULT)
