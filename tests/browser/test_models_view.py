"""The models view: states, numbers, and buttons to load, unload and import."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import (
    FOR_ADMIN,
    MISSING,
    RERANKER,
    Site,
    Visit,
    axe,
    overflows,
    shot,
)
from tests.browser.looks import looks
from tests.conftest import MODEL
from tests.hub_server import HubServer
from tests.serving import http_get, http_post, until

PATIENCE_MS = 300_000


def row(page: Page, name: str) -> Locator:
    """A model's row."""
    return page.locator(f'[data-model="{name}"]')


def figure(page: Page, name: str, which: str) -> Locator:
    """One of a model's numbers."""
    return row(page, name).locator(f'[data-figure="{which}"]')


def test_all_models_are_listed_with_their_states(visit: Visit, site: Site) -> None:
    page = visit("models")
    expect(row(page, MODEL)).to_contain_text("Ready")
    listed = http_get(f"{site.url}/models").json()["models"]
    expect(page.locator("[data-model]")).to_have_count(len(listed))
    names = page.get_by_role("heading", level=4).all_inner_texts()
    assert sorted(names) == sorted(model["id"] for model in listed)
    expect(row(page, RERANKER)).to_contain_text("default")
    unavailable = next(model for model in listed if model["state"] == "unavailable")
    expect(row(page, unavailable["id"])).to_contain_text(unavailable["detail"])


def test_memory_and_throughput_of_a_model(visit: Visit, site: Site) -> None:
    page = visit("models")
    expect(figure(page, MODEL, "memory")).to_have_text(re.compile(r"\d+ MB"))
    expect(figure(page, MODEL, "tokens_per_second")).to_have_text(re.compile(r"\d"))
    for _ in range(3):
        http_post(f"{site.url}/v1/embeddings", json={"input": ["a text to count"] * 64}).raise_for_status()
    expect(figure(page, MODEL, "tokens_per_second")).to_have_text(re.compile(r"[1-9]"))
    expect(figure(page, MODEL, "requests")).to_have_text(re.compile(r"[1-9]"))


def test_import_load_and_unload(visit: Visit, site: Site, hub: HubServer) -> None:
    page = visit("models")
    status = page.get_by_role("status").filter(has_text=FOR_ADMIN)
    weights = hub.hang("model.safetensors", after_bytes=1000)
    page.get_by_role("button", name=f"Import {FOR_ADMIN}").click()
    try:
        page.get_by_role("progressbar", name=f"Import of {FOR_ADMIN}").wait_for()
        expect(row(page, FOR_ADMIN)).to_contain_text("Importing")
        expect(row(page, FOR_ADMIN)).to_be_in_viewport()
        shot(page, "models-importing", whole=False)
        leave_while_waiting(visit, site)
    finally:
        weights.released.set()
    expect(status).to_have_text(f"{FOR_ADMIN} is imported.", timeout=PATIENCE_MS)
    expect(row(page, FOR_ADMIN)).to_contain_text(
        "Ready", timeout=PATIENCE_MS
    )  # the load continues after the page was closed
    expect(figure(page, FOR_ADMIN, "memory")).not_to_have_text("–")

    page.get_by_role("button", name=f"Unload {FOR_ADMIN}").click()
    expect(status).to_have_text(f"{FOR_ADMIN} is unloaded.")
    expect(row(page, FOR_ADMIN)).to_contain_text("Imported", timeout=PATIENCE_MS)
    assert FOR_ADMIN not in http_get(f"{site.url}/health").json()["models_loaded"]

    load = page.get_by_role("button", name=f"Load {FOR_ADMIN}")
    load.focus()
    page.keyboard.press("Enter")
    expect(status).to_have_text(f"{FOR_ADMIN} is loaded.", timeout=PATIENCE_MS)
    expect(row(page, FOR_ADMIN)).to_contain_text("Ready")


def leave_while_waiting(visit: Visit, site: Site) -> None:
    """Leave the page during a request, which the service then cancels."""
    page = visit("models")
    body = json.dumps({"model": FOR_ADMIN, "input": "text"})
    with page.expect_request("**/v1/embeddings"):
        page.evaluate("(body) => void fetch('v1/embeddings', { method: 'POST', body })", body)
    assert "status=499" not in site.served.log
    page.goto("about:blank")
    until(lambda: "route=/v1/embeddings status=499" in site.served.log, what="the end of the request")


def test_failures_show_the_reason_and_can_be_retried(visit: Visit, site: Site) -> None:
    page = visit("models")
    visit.allow("status of 503")
    page.get_by_role("button", name=f"Import {MISSING}").click()
    alert = row(page, MISSING).get_by_role("alert")
    expect(alert).to_contain_text("503", timeout=PATIENCE_MS)
    expect(alert).to_contain_text("example/nowhere")
    expect(alert).to_contain_text("model_unavailable")
    expect(row(page, MISSING)).to_contain_text("Unavailable")
    expect(alert).to_be_in_viewport()
    shot(page, "models-failed", whole=False)
    page.get_by_role("button", name=f"Try {MISSING} again").click()
    expect(alert).to_be_hidden()


def test_the_list_can_be_searched(visit: Visit) -> None:
    page = visit("models")
    search = page.get_by_role("searchbox", name="Find a model")
    search.fill("all-minilm-l6")
    expect(page.locator("[data-model]")).to_have_count(1)
    search.fill("japanese mit")
    assert page.locator("[data-model]").count() > 1
    search.fill("<img src=x onerror=alert(1)>")
    expect(page.get_by_text("No model fits.")).to_be_visible()
    search.fill("")
    page.get_by_role("combobox", name="Kind").select_option("reranker")
    expect(row(page, MODEL)).to_have_count(0)
    expect(row(page, RERANKER)).to_be_visible()
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(page.get_by_role("combobox", name="種類")).to_have_value("reranker")


def test_facts_stay_open_while_the_list_changes(visit: Visit, site: Site) -> None:
    page = visit("models")
    summary = row(page, MODEL).locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(row(page, MODEL)).to_contain_text("sentence-transformers/all-MiniLM-L6-v2")
    state = http_post(f"{site.url}/models/{RERANKER}/unload").json()
    assert state == {"id": RERANKER, "state": "stored", "memory_bytes": None}
    expect(row(page, RERANKER)).to_contain_text("Imported")
    expect(row(page, MODEL)).to_contain_text("sentence-transformers/all-MiniLM-L6-v2")
    expect(summary).to_be_focused()
    http_post(f"{site.url}/models/{RERANKER}/load", timeout=300).raise_for_status()
    expect(row(page, RERANKER)).to_contain_text("Ready")


@looks
def test_looks(visit: Visit, lang: str, theme: str, phone: bool) -> None:
    page = visit("models", lang=lang, theme=theme, phone=phone)
    row(page, MODEL).locator("summary").click()
    expect(figure(page, MODEL, "memory")).not_to_have_text("–")
    assert not overflows(page)
    shot(page, f"models-{lang}-{theme}-{'phone' if phone else 'wide'}", whole=False)
    page.get_by_role("searchbox").fill("all-minilm")  # axe is slow with the whole list
    axe(page)


def test_without_admin_there_are_no_buttons(
    visit_of: Callable[[str], Visit], site: Site, stocked: Path, hub: HubServer
) -> None:
    """The response of /models is changed to admin: false."""
    visit = visit_of(site.url)
    page = visit("models", settled=False)
    page.route("**/models", lambda route: route.fulfill(json=http_get(f"{site.url}/models").json() | {"admin": False}))
    page.reload()
    expect(row(page, MODEL)).to_be_visible()
    expect(page.get_by_text("ADMIN=true")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("load|Import"))).to_have_count(0)
