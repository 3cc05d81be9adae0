"""Debian's Chromium and a served process: real MiniLM weights, two tiny cross-encoders, and models that fail.

    def test_something(visit: Visit) -> None:
        page = visit("rerank", lang="ja", theme="dark", phone=True)
        ...
        axe(page)
        shot(page, "rerank-result")

After each test, the fixture checks all pages: no console error, no exception, no violation of the content security
policy, no request to another origin. `visit.allow("status of 429")` allows a problem that the test causes.

Playwright runs an event loop, which would break asynchronous tests of the same process. So each file starts its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests import tiny
from tests.conftest import MODEL, made_once
from tests.hub_server import HubServer
from tests.serving import ROOT, Served, copy_home, import_models, serve
from tests.variant import DTYPE

RERANKER, SECOND_RERANKER = "tiny-reranker", "tiny-reranker-two"
TOKENS_MODEL = "tiny-m3"
FOR_ADMIN, MISSING = "tiny-embedder", "tiny-missing"
"""Models for the tests of loading, unloading and importing; other tests do not use them."""
MAX_DOCUMENTS = 1000
CATALOG = f"""
models:
  - name: {RERANKER}
    repo: example/tiny-reranker
    kind: reranker
    languages: [multilingual]
    max_tokens: 512
    license: Apache-2.0
    commercial: true
  - name: {SECOND_RERANKER}
    repo: example/tiny-reranker-two
    kind: reranker
    languages: [ja, en]
    max_tokens: 512
    license: CC-BY-NC-4.0
    commercial: false
    note: A second opinion.
  - name: {TOKENS_MODEL}
    repo: example/tiny-m3
    kind: embedding
    outputs: [dense, sparse, multi_vector]
    languages: [multilingual]
    max_tokens: 8192
    dimensions: 32
  - name: {FOR_ADMIN}
    repo: example/tiny-embedder
    kind: embedding
    languages: [multilingual]
    max_tokens: 512
    dimensions: 32
    note: For tests that load, unload and import it.
  - name: {MISSING}
    repo: example/nowhere
    kind: embedding
    max_tokens: 512
"""
"""Additional models: tiny weights, and one that is not on the Hub."""
WEIGHTS = {
    "example/tiny-reranker": ("BAAI/bge-reranker-base", 0),
    "example/tiny-reranker-two": ("BAAI/bge-reranker-base", 1),
    "example/tiny-m3": ("BAAI/bge-m3", 0),
    "example/tiny-embedder": ("intfloat/multilingual-e5-small", 0),
}
SCREENSHOTS = ROOT / "artefacts" / "browser"
DESKTOP, PHONE = (1280, 900), (360, 740)
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
ARGUMENTS = ["--no-sandbox", "--no-proxy-server", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en-US"]
TIMEOUT_MS = 120_000
_WATCH_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
}).observe({ type: "longtask", buffered: true });
"""


@dataclass(frozen=True)
class Site:
    """The running service and its Hub."""

    served: Served
    hub: HubServer

    @property
    def url(self) -> str:
        """URL of the service."""
        return self.served.url


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with the tiny models."""
    with HubServer() as server:
        for repo, (original, seed) in WEIGHTS.items():
            server.add(repo, tiny.build(original, tmp_path_factory.mktemp("repository"), seed=seed))
        yield server


@pytest.fixture(scope="session")
def stocked(imported: Path, hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with MiniLM, both tiny rerankers and a tiny bge-m3 in its store."""

    def fill(home: Path) -> None:
        copy_home(imported, home)
        (home / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
        import_models(home, RERANKER, SECOND_RERANKER, TOKENS_MODEL, **settings_of(home, hub))

    source = made_once(tmp_path_factory, "stocked", fill)
    home = copy_home(source, tmp_path_factory.mktemp("browser"))
    shutil.copy(source / "catalog.yaml", home)
    return home


def settings_of(home: Path, hub: HubServer) -> dict[str, str]:
    """The settings of `site`, for tests that start another service."""
    return {
        "EMBEDDING_MODEL_NAME": MODEL,
        "RERANKER_MODEL_NAME": RERANKER,
        "PRELOAD_MODELS": f"{MODEL},{RERANKER}",
        "EXTRA_CATALOG": str(home / "catalog.yaml"),
        "DEVICE": "cpu",
        "DTYPE": DTYPE,
        "BACKEND": "torch",  # avoids conversions; the page does not depend on the engine
        "ADMIN": "true",
        "MAX_DOCUMENTS": str(MAX_DOCUMENTS),
        **hub.environment(home / "huggingface"),
    }


@pytest.fixture(scope="session")
def site(stocked: Path, hub: HubServer) -> Iterator[Site]:
    """The service with ADMIN and both default models loaded."""
    with serve(stocked, **settings_of(stocked, hub)) as served:
        yield Site(served, hub)


def chromium() -> str:
    """Path of Debian's Chromium, or the value of CHROMIUM."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is missing: run scripts/install --dev, or set CHROMIUM to a Chromium or Chrome.")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests."""
    expect.set_options(timeout=TIMEOUT_MS)  # 5 s otherwise, which is short where other tests run
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """Opens pages and records their problems."""

    browser: Browser
    url: str
    contexts: list[BrowserContext] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def __call__(
        self,
        view: str | None = "rerank",
        *,
        lang: str = "en",
        theme: str = "light",
        phone: bool = False,
        settled: bool = True,
        **query: str,
    ) -> Page:
        """The playground in a new browser context. `theme`: light, dark; `settled`: wait until the view is drawn."""
        width, height = PHONE if phone else DESKTOP
        context = self.browser.new_context(
            locale="ja-JP" if lang == "ja" else "en-US",
            viewport={"width": width, "height": height},
            has_touch=phone,
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
            service_workers="block",
        )
        context.add_init_script(_WATCH_TASKS)
        context.set_default_timeout(TIMEOUT_MS)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._on_request)
        parts = ({"view": view} if view else {}) | {"lang": lang, "theme": theme} | query
        page.goto(f"{self.url}/playground?{urlencode(parts)}")
        if settled:
            page.locator("main .view > *").first.wait_for()
        return page

    def allow(self, pattern: str) -> None:
        """Allow problems that match a regular expression."""
        self.allowed.append(pattern)

    def unexpected(self) -> list[str]:
        """The recorded problems that are not allowed."""
        return [problem for problem in self.problems if not any(re.search(one, problem) for one in self.allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "blob:", "data:")):
            self.problems.append(f"request to another origin: {request.url}")


@pytest.fixture
def visit_of(browser: Browser) -> Iterator[Callable[[str], Visit]]:
    """Visits to another service: `visit_of(served.url)`."""
    visits: list[Visit] = []

    def visit(url: str) -> Visit:
        visits.append(Visit(browser, url))
        return visits[-1]

    yield visit
    for one in visits:
        for context in one.contexts:
            context.close()
        assert one.unexpected() == []


@pytest.fixture
def visit(visit_of: Callable[[str], Visit], site: Site) -> Visit:
    """Visits to `site`."""
    return visit_of(site.url)


def axe(page: Page) -> None:
    """Check for violations of WCAG 2.0 to 2.2, A and AA."""
    results = Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]})
    found = [
        f"{violation['id']}: {violation['help']}\n"
        + "\n".join(f"    {node['html'][:200]}\n      {node.get('failureSummary', '')}" for node in violation["nodes"])
        for violation in results.response["violations"]
    ]
    assert not found, "\n".join(found)


def shot(page: Page, name: str, *, whole: bool = True) -> Path:
    """Save a screenshot as artefacts/browser/NAME.png; `whole`: of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=whole, animations="disabled")
    return path


def longest_task_ms(page: Page) -> float:
    """Duration of the longest task of the page's thread since the last call or since it was opened; 0: under 50 ms."""
    return float(page.evaluate("() => Math.max(0, ...window.longTasks.splice(0))"))


def overflows(page: Page) -> bool:
    """Whether the page scrolls horizontally."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
