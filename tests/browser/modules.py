"""The page's own modules, called from a test; and how long they keep the page's thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page, Request

_CALL = """async ([path, code, given]) => {
  const module = await import(path);
  return await CODE(module, given);
}"""


def call(page: Page, path: str, code: str, given: Any = None) -> Any:
    """What `code`, a JavaScript function of (module, given), makes of a module in playground/."""
    return page.evaluate(_CALL.replace("CODE", f"({code})"), [f"./playground/{path}", "", given])


def longest_task_cpu_ms(browser: Browser, page: Page, act: Callable[[], None]) -> float:
    """The most processor time that a task of the page's thread takes meanwhile: other work on the machine adds none."""
    browser.start_tracing(page=page, categories=["devtools.timeline", "toplevel"])
    try:
        act()
    finally:
        events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [event for event in events if event.get("ph") == "X" and "RunTask" in event["name"]]
    assert tasks
    return max((event.get("tdur", 0) / 1000 for event in tasks if (event["pid"], event["tid"]) in threads), default=0.0)


def requests_to(page: Page, path: str) -> list[Request]:
    """What the page asks of a path from now on."""
    found: list[Request] = []

    def seen(request: Request) -> None:
        if request.url.endswith(path):
            found.append(request)

    page.on("request", seen)
    return found
