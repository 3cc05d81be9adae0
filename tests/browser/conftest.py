"""Debian's Chromium before a served process: real MiniLM weights, two tiny cross-encoders, and models that fail.

    def test_something(visit: Visit) -> None:
        page = visit("rerank", lang="ja", theme="dark", phone=True)
        ...
        axe(page)
        shot(page, "rerank-result")

What every page must keep to is checked at the end of each test: no console error, no exception, no breach of the
content-security policy, no request to another origin. `visit.allow("status of 429")` names what a test provokes.

Playwright keeps an event loop running, which asynchronous tests of the same process could not bear: it lives for one
file at a time.
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
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests import tiny
from tests.conftest import MODEL, import_models, made_once
from tests.hub_server import HubServer
from tests.serving import ROOT, Served, copy_home, serve
from tests.variant import DTYPE

RERANKER, SECOND_RERANKER = "tiny-reranker", "tiny-reranker-two"
FOR_ADMIN, MISSING = "tiny-embedder", "tiny-missing"
"""Models that only the tests of loading, unloading and importing touch."""
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
"""Beside the service's own catalogue: tiny weights under names of their own, and one that the Hub does not have."""
WEIGHTS = {
    "example/tiny-reranker": ("BAAI/bge-reranker-base", 0),
    "example/tiny-reranker-two": ("BAAI/bge-reranker-base", 1),
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
    """The running service and the Hub that it imports from."""

    served: Served
    hub: HubServer

    @property
    def url(self) -> str:
        """Where the service listens."""
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
    """A BENTOML_HOME to serve from, with MiniLM and both tiny rerankers in its store."""

    def fill(home: Path) -> None:
        copy_home(imported, home)
        (home / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
        import_models(home, RERANKER, SECOND_RERANKER, **settings_of(home, hub))

    source = made_once(tmp_path_factory, "stocked", fill)
    home = copy_home(source, tmp_path_factory.mktemp("browser"))
    shutil.copy(source / "catalog.yaml", home)
    return home


def settings_of(home: Path, hub: HubServer) -> dict[str, str]:
    """The settings of `site`, for tests that need a service of their own."""
    return {
        "EMBEDDING_MODEL_NAME": MODEL,
        "RERANKER_MODEL_NAME": RERANKER,
        "PRELOAD_MODELS": f"{MODEL},{RERANKER}",
        "EXTRA_CATALOG": str(home / "catalog.yaml"),
        "DEVICE": "cpu",
        "DTYPE": DTYPE,
        "BACKEND": "torch",  # the page does not depend on the engine, and nothing is converted
        "ADMIN": "true",
        "MAX_DOCUMENTS": str(MAX_DOCUMENTS),
        **hub.environment(home / "huggingface"),
    }


@pytest.fixture(scope="session")
def site(stocked: Path, hub: HubServer) -> Iterator[Site]:
    """The service with ADMIN, both default models in memory."""
    with serve(stocked, **settings_of(stocked, hub)) as served:
        yield Site(served, hub)


def chromium() -> str:
    """Debian's Chromium, or what CHROMIUM names."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is missing: run scripts/install --dev, or set CHROMIUM to a Chromium or Chrome.")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """Opens pages, and knows at the end what they did that they must not do."""

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
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._asked)
        parts = ({"view": view} if view else {}) | {"lang": lang, "theme": theme} | query
        page.goto(f"{self.url}/playground?{urlencode(parts)}")
        if settled:
            page.locator("main .view > *").first.wait_for()
        return page

    def allow(self, pattern: str) -> None:
        """A problem that the test provokes: a regular expression found in it."""
        self.allowed.append(pattern)

    def unexpected(self) -> list[str]:
        """What no test asked for."""
        return [problem for problem in self.problems if not any(re.search(one, problem) for one in self.allowed)]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "blob:", "data:")):
            self.problems.append(f"request to another origin: {request.url}")


@pytest.fixture
def visit_of(browser: Browser) -> Iterator[Callable[[str], Visit]]:
    """Visits to a service of the test's own: `visit_of(served.url)`."""
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
    """No violation of WCAG 2.0 to 2.2, A and AA."""
    results = Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]})
    found = [
        f"{violation['id']}: {violation['help']}\n"
        + "\n".join(f"    {node['html'][:200]}\n      {node.get('failureSummary', '')}" for node in violation["nodes"])
        for violation in results.response["violations"]
    ]
    assert not found, "\n".join(found)


def shot(page: Page, name: str, *, whole: bool = True) -> Path:
    """A screenshot, kept as artefacts/browser/NAME.png; `whole`: beyond the window, too."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=whole, animations="disabled")
    return path


def longest_task_ms(page: Page) -> float:
    """The longest time that the page kept its thread since it was opened, or since the last call; 0: under 50 ms."""
    return float(page.evaluate("() => Math.max(0, ...window.longTasks.splice(0))"))


def overflows(page: Page) -> bool:
    """Whether the page as a whole scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
