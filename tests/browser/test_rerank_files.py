"""Passages from files, pastes and drops: what is read, and that ignored parts are reported."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Site, Visit, axe, shot
from tests.browser.lines_field import drop, give_file, notes
from tests.browser.reranking import fill, rows, run

LIMIT = 3


@pytest.fixture(scope="module")
def read(browser: Browser, site: Site) -> Iterator[Callable[..., dict[str, Any]]]:
    """files.js in a separate page: (name, content) -> the passages, or the reason for an error."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/playground?view=rerank&lang=en")

    def read(name: str, content: str | bytes, maximum: int = LIMIT) -> dict[str, Any]:
        content = content.encode() if isinstance(content, str) else content
        found: dict[str, Any] = page.evaluate(
            """async ([name, base64, maxPassages]) => {
              const { readFile } = await import(new URL("playground/files.js", document.baseURI));
              const file = new File([Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0))], name);
              try {
                return await readFile(file, { maxPassages, maxBytes: 1e6 });
              } catch (problem) {
                return { reason: problem.reason };
              }
            }""",
            [name, base64.b64encode(content).decode(), maximum],  # a list of numbers is sent slowly
        )
        return found

    yield read
    context.close()


Read = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "content", "passages"),
    [
        ("a.txt", "one\r\ntwo\n\n  three \r", ["one", "two", "three"]),
        ("a.TXT", "\ufeffone", ["one"]),
        ("a.csv", 'id,Text\n1,"said ""hi"",\nok"\r\n2,日本語', ['said "hi",\nok', "日本語"]),
        ("a.csv", "id;content;x\n1;a, b;2\n", ["a, b"]),
        ("a.tsv", "passage\tid\na, b\t1\n", ["a, b"]),
        ("a.csv", "a, b\n", ["a"]),
        ("a.csv", 'text\nhello, world\n"a,b"', ["hello, world", "a,b"]),
        ("a.csv", 'text\n5" nail\n', ['5" nail']),
        ("a.jsonl", '"a"\n{"passage": "b\\nc", "id": 1}\n{"document": "d"}\n', ["a", "b\nc", "d"]),
        ("a.ndjson", '{"text": 1, "content": "c"}', ["c"]),
    ],
)
def test_formats(read: Read, name: str, content: str, passages: list[str]) -> None:
    found = read(name, content)
    assert found["passages"] == passages
    assert (found["leftOut"], found["unreadable"]) == (0, 0)


@pytest.mark.parametrize(
    ("encoding", "content"), [("utf-16", "日本"), ("shift_jis", "日本語の文書"), ("windows-1252", "café au lait")]
)
def test_encodings(read: Read, encoding: str, content: str) -> None:
    found = read("a.txt", content.encode(encoding))
    assert found["passages"] == [content]
    assert found["encoding"].startswith(encoding)


def test_ignored_rows_are_counted(read: Read) -> None:
    assert read("a.txt", "a\n\nb\nc\nd\ne") | {"passages": 0} == {
        "passages": 0,
        "found": 5,
        "leftOut": 2,
        "empty": 1,
        "unreadable": 0,
        "firstUnreadable": None,
        "columns": 0,
        "wide": 0,
        "unclosed": None,
        "column": None,
        "format": "txt",
        "encoding": None,
    }
    found = read("a.jsonl", '"a"\n{"id": 1}\n{bad\n[1]\n\n')
    assert (found["found"], found["unreadable"], found["firstUnreadable"], found["empty"]) == (1, 3, 2, 1)
    found = read("a.csv", "id,text\n1,a,b\n2,\n3,c\n")
    assert (found["passages"], found["wide"], found["empty"], found["column"]) == (["a", "c"], 1, 1, "text")
    assert read("a.csv", 'text,id\n"never closed,1\nb,2\n')["unclosed"] == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", "text", "type"),
        ("a.txt", b"\x00\x01", "binary"),
        ("a.txt", "\n \n", "none"),
        ("a.csv", "text\n", "none"),
        ("a.txt", "x" * 1_000_001, "size"),
    ],
)
def test_unreadable_files(read: Read, name: str, content: str | bytes, reason: str) -> None:
    assert read(name, content) == {"reason": reason}


def test_files_are_read_correctly_across_pieces(read: Read) -> None:
    """Files are read in pieces of 128 KiB, which may divide a character, a quoted cell or a line."""
    texts = [f'é "{number}"\r\n日本, {"x" * (number % 7)}' for number in range(30_000)]
    quoted = "\n".join(f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(texts))
    found = read("a.csv", f"id,text\n{quoted}", 50_000)
    assert found["passages"] == texts


def test_too_many_passages_show_a_note(visit: Visit) -> None:
    page = visit("rerank")
    give_file(page, "many.txt", "\n".join(f"passage {number}" for number in range(1203)))
    expect(notes(page)).to_contain_text("the first 1,000 are used, 203 are left out")
    expect(notes(page)).to_contain_text("Passages read from many.txt: 1,000")
    axe(page)
    shot(page, "rerank-file")
    page.get_by_role("button", name="Edit as lines").click()
    assert page.locator(".rerank-form textarea").input_value().count("\n") == 999


def test_a_file_is_ranked_and_can_be_removed(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    give_file(page, "three.jsonl", "\n".join(json.dumps({"text": f"two\nlines {n}"}) for n in range(3)))
    expect(page.locator(".file-preview li")).to_have_count(3)
    run(page)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Remove", exact=True).click()
    assert page.locator(".rerank-form textarea").input_value().startswith("Sourdough")
    expect(page.locator(".rerank-form textarea")).to_be_focused()


def test_a_file_is_dropped(visit: Visit) -> None:
    page = visit("rerank")
    drop(page, "a.txt", "b.txt")
    expect(notes(page)).to_contain_text("One file at a time, please.")
    drop(page, "a.exe")
    expect(notes(page)).to_contain_text("a.exe cannot be read")
    drop(page, "a.txt")
    expect(notes(page)).to_have_text("Passages read from a.txt: 2")


def test_a_large_paste_becomes_a_file(visit: Visit) -> None:
    page = visit("rerank")
    area = page.locator(".rerank-form textarea")
    area.fill("typed\n")
    page.evaluate("text => navigator.clipboard.writeText(text)", "\n".join(["a passage " * 20] * 500))
    area.press("End")
    area.press("Control+v")
    expect(page.locator(".file-card")).to_contain_text("Pasted text")
    expect(notes(page)).to_have_text("Passages: 501")
    expect(page.get_by_role("button", name="Choose a file")).to_be_focused()
    page.get_by_role("button", name="Remove", exact=True).click()
    area.press("Control+End")
    page.evaluate("text => navigator.clipboard.writeText(text)", "one\ntwo")
    area.press("Control+v")
    assert area.input_value() == "typed\none\ntwo"
