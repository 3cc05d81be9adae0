"""Calls the page's modules, and measures the tasks of the page's thread."""

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
    """The result of `code`, a JavaScript function of (module, given), for a module in playground/."""
    return page.evaluate(_CALL.replace("CODE", f"({code})"), [f"./playground/{path}", "", given])


def longest_task_cpu_ms(browser: Browser, page: Page, act: Callable[[], None]) -> float:
    """CPU time of the longest task of the page's thread during the block, which other processes do not affect."""
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
    """The page's requests to a path from now on."""
    found: list[Request] = []

    def seen(request: Request) -> None:
        if request.url.endswith(path):
            found.append(request)

    page.on("request", seen)
    return found
