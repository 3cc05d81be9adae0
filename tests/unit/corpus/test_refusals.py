"""./embeddings embed and what is wrong with the input, the command or the service's answers."""

from __future__ import annotations

import json

import pytest
from starlette.responses import JSONResponse, Response

from corpus import rows
from tests.command_line import run as run_command
from tests.unit.corpus.conftest import ROWS, Run
from tests.unit.corpus.corpus_service import FakeService, error

BAD = b"""{"text": "good"}
{"text": ""}
{"text": "   "}
{"other": 1}
{"text": 7}
not json
["text"]
{"text": "\xff"}

{"text": "good, too"}
"""
REASONS = [
    ("line 2", "'text' is empty"),
    ("line 3", "'text' is empty"),
    ("line 4", "has no 'text'"),
    ("line 5", "'text' is not a text"),
    ("line 6", "is not JSON: "),
    ("line 7", "is not a JSON object"),
    ("line 8", "is not JSON: "),
]


def test_wrong_rows_end_the_run_before_anything_is_sent(run: Run, fake: FakeService) -> None:
    (run.folder / "bad.jsonl").write_bytes(BAD)
    message = run.fails(rows="bad.jsonl")
    assert "7 of 9 rows are invalid; the first is line 2: 'text' is empty" in message
    assert "--skip-bad" in message
    assert not fake.bodies
    assert not run.parts.exists()


def test_wrong_rows_are_left_out(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / "bad.jsonl").write_bytes(BAD)
    assert run("--skip-bad", rows="bad.jsonl") == 0
    run.check(["good", "good, too"])
    assert run.ids == [0, 8]
    assert "rows left out: 7" in capsys.readouterr().out
    assert [each["place"] for each in run.bad] == [place for place, _ in REASONS]
    assert all(str(each["reason"]).startswith(reason) for each, (_, reason) in zip(run.bad, REASONS, strict=True))
    assert run.bad[3] == {"row": 4, "place": "line 5", "reason": "'text' is not a text", "content": {"text": 7}}
    assert run.bad[4]["content"] == "not json"


def test_wrong_rows_of_csv(run: Run) -> None:
    content = b'id,text\n1,good\n2,"two\nlines"\n\n3\n4,a,b\n5,\n6,\xff\n,no id\n'
    (run.folder / "bad.csv").write_bytes(content)
    assert run("--skip-bad", "--id", "id", rows="bad.csv") == 0
    run.check(["good", "two\nlines", "no id"])
    assert [(each["place"], each["reason"]) for each in run.bad] == [
        ("line 6", "has 1 columns; the header has 2"),
        ("line 7", "has 3 columns; the header has 2"),
        ("line 8", "'text' is empty"),
        ("line 9", "'text' is not valid UTF-8"),
    ]


@pytest.mark.parametrize("value", ["1.5", "null", "true", "[1]"])
def test_wrong_ids(run: Run, value: str) -> None:
    (run.folder / "ids.jsonl").write_text(f'{{"text":"a","k":{value}}}\n')
    assert "the first is line 1: " in run.fails("--id", "k", rows="ids.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,body\n1,x\n", "has no column 'text'; its columns are id, body. Name one with --text."),
        ("a.csv", b'text\n"never closed' + b"x" * 200, "An earlier quote may not be closed."),
        ("a.jsonl", b"", "has no rows to embed"),
        ("a.jsonl", b'[{"text":' + b"x" * 200, "is longer than 100 bytes"),
        ("a.parquet", b"PAR1 it is not", "cannot be read as Parquet"),
    ],
)
def test_files_that_are_something_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
) -> None:
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 100)
    (run.folder / name).write_bytes(content)
    assert words in run.fails(rows=name)
    assert not run.parts.exists() or name == "a.jsonl"


@pytest.mark.parametrize(("status", "batch"), [*((status, 5) for status in (408, 429, 500, 502, 503)), (504, 1)])
def test_tried_again(
    run: Run, fake: FakeService, texts: list[str], waits: list[float], status: int, batch: int
) -> None:
    """After a 504, a single text is; it cannot be halved."""
    fake.answers = {number: lambda: error(status, "later") for number in (0, 3, 4)}
    assert run("--parallel", "1", "--batch", str(batch)) == 0
    run.check(texts)
    assert len(fake.bodies) == ROWS // batch + 3
    assert len(waits) == 3
    assert 0 < waits[0] < waits[2] < 1


def test_retry_after_is_honoured(run: Run, fake: FakeService, texts: list[str], waits: list[float]) -> None:
    fake.answers = {0: lambda: error(429, "too much is queued", None, **{"Retry-After": "7"})}
    assert run("--parallel", "1") == 0
    run.check(texts)
    assert 7 <= waits[0] <= 7.5


@pytest.mark.parametrize("status", [413, 504])
def test_too_much_for_one_request_is_halved(run: Run, fake: FakeService, texts: list[str], status: int) -> None:
    fake.refuse = lambda batch: error(status, "too much") if len(batch) > 2 else None
    assert run() == 0
    run.check(texts)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_refusals_end_the_run_with_the_words_of_the_service(
    run: Run, fake: FakeService, texts: list[str], status: int
) -> None:
    fake.refuse = lambda batch: error(status, "There is no such thing.") if texts[23] in batch else None
    message = run.fails()
    assert f"The service rejects line 21 to line 25 with status {status}: There is no such thing." in message
    assert ("--api-key-file" in message) == (status == 401)
    fake.refuse = lambda batch: None
    asked = len(fake.texts)
    assert run() == 0
    run.check(texts)
    assert sorted(fake.texts[asked:]) == sorted(texts[20:])


def test_a_refusal_names_the_row(run: Run, fake: FakeService, texts: list[str]) -> None:
    long = error(400, "input.3 has 302 tokens; the model takes 256.", "input.3")
    fake.refuse = lambda batch: long if texts[23] in batch else None
    assert "rejects line 24 with status 400: the text has 302 tokens" in run.fails("--truncate", "NONE")


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"hello": 1},
        {"data": [{"index": 0, "embedding": "AACAfw=="}], "model": "m", "usage": {"prompt_tokens": 1}},
        {"data": [{"index": 1, "embedding": "AACAPw=="}], "model": "m", "usage": {"prompt_tokens": 1}},
        {"data": [{"index": 0, "embedding": "AACAP"}], "model": "m", "usage": {"prompt_tokens": 1}},
    ],
)
def test_answers_that_are_no_vectors(run: Run, fake: FakeService, answer: object) -> None:
    """Among them infinity, a wrong index and half a base64."""
    fake.refuse = lambda batch: JSONResponse(answer)
    assert "return" in run.fails("--batch", "1")


def test_a_page_of_a_proxy(run: Run, fake: FakeService) -> None:
    fake.refuse = lambda batch: Response("<html>", 403)
    assert "with status 403: Forbidden" in run.fails()


@pytest.mark.parametrize(
    "options",
    [["--out", "vectors.csv"], ["--batch", "0"], ["--url", "localhost:7987"], ["--format", "xml"], []],
)
def test_wrong_commands(options: list[str]) -> None:
    assert run_command("embed", "--file", "corpus.jsonl", *options) == 2


def test_errors_for_programs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", rows="nowhere.jsonl") == 1
    assert "is not a file" in json.loads(capsys.readouterr().out)["error"]


def test_an_empty_key_file(run: Run) -> None:
    (run.folder / "key").write_text("\n")
    assert "contains no key" in run.fails("--api-key-file", str(run.folder / "key"))
