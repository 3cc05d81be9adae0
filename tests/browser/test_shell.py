"""The frame: views, languages, themes, the API key and the security policy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import DESKTOP, Site, Visit, axe, overflows, shot
from tests.serving import ROOT, http_get

VIEWS = ["rerank", "embeddings", "tokens", "models", "live"]
KEY = "sk-browser-test"


def refuse_without_key(page: Page, site: Site) -> list[str]:
    """Simulate API_KEYS in front of a service without keys; returns the keys that it gets."""
    shown: list[str] = []

    def answer(route: Route) -> None:
        given = route.request.headers.get("authorization", "")
        shown.append(given)
        if given == f"Bearer {KEY}":
            route.continue_()
            return
        message = "This service wants an API key." if not given else "Incorrect API key provided."
        body = {"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}}
        route.fulfill(status=401, json=body)

    page.route(re.compile(rf"{re.escape(site.url)}/(models|v1/.*)$"), answer)
    return shown


def test_views_are_links_and_part_of_the_url(visit: Visit) -> None:
    page = visit(None)
    navigation = page.get_by_role("navigation", name="Views")
    expect(navigation.get_by_role("link", name="Rerank")).to_have_attribute("aria-current", "page")
    navigation.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", level=2, name="Models")).to_be_focused()
    assert "view=models" in page.url
    assert page.title().startswith("Models")
    page.go_back()
    expect(page.get_by_role("heading", level=2)).to_have_text("Rerank")


def test_the_language_is_part_of_the_url(visit: Visit) -> None:
    page = visit("models")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(page.get_by_role("heading", level=2)).to_have_text("モデル")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("combobox", name="言語")).to_be_focused()
    assert "lang=ja" in page.url
    page.reload()
    expect(page.get_by_role("heading", level=2)).to_have_text("モデル")


def test_the_browsers_language_and_theme_are_the_defaults(visit: Visit, site: Site) -> None:
    page = visit("models", lang="ja")
    page.goto(f"{site.url}/playground?view=models")
    expect(page.locator("html")).to_have_attribute("lang", "ja")


@pytest.mark.parametrize(("theme", "system", "dark"), [("auto", "dark", True), ("light", "dark", False)])
def test_themes(visit: Visit, theme: str, system: str, dark: bool) -> None:
    page = visit("models", theme=theme)
    page.emulate_media(color_scheme=system)  # type: ignore[arg-type]  # its own literal
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 64) is dark
    page.get_by_role("combobox", name="Theme").select_option("dark")
    assert "theme=dark" in page.url
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert int(re.findall(r"\d+", background)[0]) < 64


def test_keyboard_control(visit: Visit) -> None:
    page = visit("models")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("link", name="Live").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text("Live")


def test_the_key_is_requested_kept_and_sent(visit: Visit, site: Site) -> None:
    page = visit("models")
    visit.allow("status of 401")
    shown = refuse_without_key(page, site)
    page.reload()
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog.get_by_label("Key", exact=True)).to_be_focused()
    axe(page)
    shot(page, "shell-key", whole=False)
    dialog.get_by_label("Key", exact=True).fill("sk-wrong")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("does not know that key")
    dialog.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("[data-model]").first).to_be_visible()
    assert shown[-1] == f"Bearer {KEY}"
    page.reload()
    expect(page.locator("[data-model]").first).to_be_visible()
    expect(dialog).to_be_hidden()
    assert KEY not in page.url
    assert page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"


def test_a_declined_key_can_be_entered_later(visit: Visit, site: Site) -> None:
    page = visit("models")
    visit.allow("status of 401")
    refuse_without_key(page, site)
    page.reload()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("401")
    page.get_by_role("button", name="Enter an API key").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Enter an API key").click()
    page.get_by_role("dialog").get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("[data-model]").first).to_be_visible()


def test_an_unreachable_service_shows_an_error(visit: Visit, site: Site) -> None:
    page = visit("live", settled=False)
    visit.allow("ERR_INTERNET_DISCONNECTED|ERR_FAILED|Failed to fetch")
    page.get_by_role("link", name="Models").click()
    expect(page.locator("[data-model]").first).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text(re.compile("not up to date"))).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text(re.compile("not up to date"))).to_be_hidden()


@pytest.mark.parametrize("view", VIEWS)
def test_all_views_on_a_phone_in_japanese(visit: Visit, view: str) -> None:
    page = visit(view, lang="ja", theme="dark", phone=True)
    assert not overflows(page)
    shot(page, f"shell-{view}-phone", whole=False)


def test_the_security_policy_blocks_violations(visit: Visit, site: Site) -> None:
    """The browser blocks and reports each violation."""
    page = visit("models")
    visit.allow("Content Security Policy|Trusted Types|TrustedScriptURL|TrustedHTML")
    visit.allow(r"127\.0\.0\.1:9/x\.png")  # reported before the policy blocks it
    blocked = page.evaluate(
        """async () => {
          const blocked = [];
          const tried = (name, act) => { try { act(); } catch { blocked.push(name); } };
          addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
          tried("html", () => { document.body.innerHTML = "<b>x</b>"; });
          tried("worker", () => new Worker("https://example.invalid/worker.js"));
          const style = document.createElement("p");
          style.setAttribute("style", "color: red");
          const script = document.createElement("script");
          tried("script", () => { script.src = "https://example.invalid/x.js"; });
          const image = new Image();
          image.src = "http://127.0.0.1:9/x.png";
          await new Promise((resolve) => setTimeout(resolve, 200));
          return blocked;
        }"""
    )
    assert {"html", "worker", "script", "style-src-attr", "img-src"} <= set(blocked)


def test_the_page_works_behind_a_path_prefix(visit_of: Callable[[str], Visit], site: Site) -> None:
    """A proxy serves the service below a path: all URLs of the page are relative."""
    prefix = f"{site.url}/some/where"
    visit = visit_of(prefix)
    page = visit("models", settled=False)
    requested: list[str] = []

    def proxy(route: Route) -> None:
        requested.append(route.request.url)
        answer = http_get(route.request.url.replace("/some/where", ""))
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        route.fulfill(status=answer.status_code, body=answer.content, headers=headers)

    visit.allow("status of 404")  # before the proxy is set up
    page.route(f"{prefix}/**", proxy)
    page.goto(f"{prefix}/playground?view=models&lang=en")
    expect(page.locator("[data-model]").first).to_be_visible()
    assert requested
    assert all(url.startswith(prefix) for url in requested)


def strings() -> Iterator[tuple[str, str]]:
    """All string literals in the page's modules, without the translated texts."""
    for path in sorted((ROOT / "playground").glob("*.js")):
        yield path.name, path.read_text(encoding="utf-8")


def test_no_module_writes_markup_or_styles() -> None:
    wrong = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setAttribute\(\s*[\"']style|\bstyle: ")
    assert [name for name, text in strings() if wrong.search(text)] == []


def test_no_module_names_another_host() -> None:
    """Except for SVG's namespace and the texts of generated programs."""
    for path in sorted((ROOT / "playground").rglob("*.*")):
        for url in re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+[^\s\"'`]*", path.read_text(encoding="utf-8")):
            assert url.startswith("http://www.w3.org/"), (path.name, url)


def test_modules_are_short() -> None:
    for path in (ROOT / "playground").rglob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.parent.name != "strings":  # lists of texts
            assert len(lines) < 300, path.name
            assert max(map(len, lines)) <= 120, path.name


def test_the_page_is_linked_and_its_url_logged(site: Site) -> None:
    assert "(./playground)" in http_get(f"{site.url}/docs.json").json()["info"]["description"]
    assert f"playground: {site.url}/playground" in site.served.log


def test_the_documentation_page_links_to_the_page(visit: Visit, site: Site) -> None:
    context = visit.browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    page = context.new_page()
    page.goto(f"{site.url}/")
    with context.expect_page() as opened:
        page.get_by_role("link", name=re.compile("playground")).first.click()
    expect(opened.value.get_by_role("navigation", name="Views")).to_be_visible()
    context.close()


def test_page_requests_are_not_logged(visit: Visit, site: Site) -> None:
    page = visit("models")
    expect(page.locator("[data-model]").first).to_be_visible()
    lines = site.served.log.splitlines()
    assert not [line for line in lines if re.search(r"route=/(playground\S*|metrics|models) .*status=200", line)]
    text = http_get(f"{site.url}/metrics").text
    routes = set(re.findall(r'service_requests_total\{[^}]*route="(/playground[^"]*)"', text))
    assert routes == {"/playground", "/playground/{file}"}


def test_both_languages_have_the_same_strings(visit: Visit, site: Site) -> None:
    """All modules in strings/ have the same keys and placeholders in both languages."""
    page = visit("models")
    for path in sorted(set((ROOT / "playground/strings").glob("*.js")) - {ROOT / "playground/strings/service.js"}):
        texts = json.loads(
            page.evaluate(f'import("/playground/strings/{path.name}").then((m) => JSON.stringify(m.strings))')
        )
        holes = {
            name: {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in texts[name].items()} for name in texts
        }
        assert holes["en"] == holes["ja"], path.name
