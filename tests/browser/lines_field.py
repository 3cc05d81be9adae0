"""Helpers for the field for lines or files, which two views have."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

_DRAG = """([types, names]) => {
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File(["a\\nb"], name));
  const at = document.querySelector(".lines-field textarea");
  for (const type of types)
    at.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def give_file(page: Page, name: str, content: bytes | str) -> None:
    """Choose a file."""
    content = content.encode() if isinstance(content, str) else content
    page.locator(".lines-field input[type=file]").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def drag(page: Page, *names: str) -> None:
    """Drag files with two lines over the field."""
    page.evaluate(_DRAG, [["dragover"], names])


def drop(page: Page, *names: str) -> None:
    """Drop files with two lines on the field."""
    page.evaluate(_DRAG, [["dragover", "drop"], names])


def notes(page: Page) -> Locator:
    """The field's notes about its lines or its file."""
    return page.locator(".lines-field [role=status]")
