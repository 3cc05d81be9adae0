"""The field for lines or a file of them, which two views have: files given to it, and what it says."""

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
    """Hold files of two lines over it."""
    page.evaluate(_DRAG, [["dragover"], names])


def drop(page: Page, *names: str) -> None:
    """Let files of two lines fall on it."""
    page.evaluate(_DRAG, [["dragover", "drop"], names])


def notes(page: Page) -> Locator:
    """What it says of its lines or its file."""
    return page.locator(".lines-field [role=status]")
