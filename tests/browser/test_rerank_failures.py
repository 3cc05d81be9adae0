"""The rerank view: failures, slow requests and cancellation."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import MISSING, RERANKER, Site, Visit, axe, shot
from tests.browser.lines_field import give_file
from tests.browser.reranking import PASSAGES, choose, fill, rows, run
from tests.conftest import MODEL
from tests.serving import until


def test_errors_of_the_service_are_shown(visit: Visit) -> None:
    page = visit("rerank")
    visit.allow("status of 503")
    fill(page)
    choose(page, MISSING)
    run(page)
    alert = page.locator(".problem")
    expect(alert).to_contain_text("503")
    expect(alert).to_contain_text("model_unavailable")
    axe(page)
    shot(page, "rerank-refused")


def test_if_one_of_two_models_fails_the_other_is_shown(visit: Visit) -> None:
    page = visit("rerank")
    visit.allow("status of 503")
    fill(page)
    choose(page, RERANKER, MISSING)
    run(page)
    expect(page.locator(".outcome .problem")).to_contain_text("model_unavailable")
    expect(rows(page)).to_have_count(len(PASSAGES))
    expect(page.locator(".bump-chart")).to_have_count(0)
    axe(page)
    shot(page, "rerank-half")


def hang(page: Page) -> None:
    """Rerank requests get no response."""
    page.route("**/v1/rerank", lambda route: None)


def test_cancelling(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)
    hang(page)
    page.locator(".runner .button").click()
    expect(page.locator(".runner .button")).to_have_text("Cancel")
    expect(page.locator(".run-status")).to_contain_text("Still waiting", timeout=5000)
    page.locator(".runner .button").click()
    expect(page.locator(".runner")).to_contain_text("Cancelled.")
    expect(page.locator(".runner .button")).to_have_text("Rerank")
    page.unroute("**/v1/rerank")
    run(page)
    expect(rows(page)).to_have_count(len(PASSAGES))


def test_cancelling_the_second_model_keeps_the_first(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)

    def first_only(route: Route) -> None:
        if json.loads(route.request.post_data or "")["model"] == RERANKER:
            route.continue_()

    page.route("**/v1/rerank", first_only)
    page.locator(".runner .button").click()
    expect(page.locator(".run-status")).to_contain_text("Still waiting", timeout=10_000)
    page.locator(".runner .button").click()
    expect(rows(page)).to_have_count(len(PASSAGES))
    expect(page.locator(".outcome .problem")).to_have_text("Cancelled.")


@pytest.mark.parametrize("leaves", [False, True])
def test_leaving_or_cancelling_ends_the_request(visit: Visit, site: Site, leaves: bool) -> None:
    page = visit("rerank")
    give_file(page, "many.txt", "\n".join(f"{number} {'network router ' * 120}" for number in range(1000)))
    page.locator(".rerank-form input[type=text]").fill("network")
    choose(page, MODEL)
    before = site.served.log.count("status=499")
    with page.expect_request("**/v1/rerank"):
        page.locator(".runner .button").click()
    page.wait_for_timeout(500)
    if leaves:
        page.goto("about:blank")
    else:
        page.locator(".runner .button").click()
    until(lambda: site.served.log.count("status=499") > before, what="the end of the work")


def test_a_lost_connection(visit: Visit) -> None:
    page = visit("rerank")
    visit.allow("ERR_INTERNET_DISCONNECTED|ERR_FAILED")
    fill(page)
    choose(page, RERANKER)
    page.context.set_offline(True)
    run(page)
    expect(page.locator(".problem")).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    run(page)
    expect(rows(page)).to_have_count(len(PASSAGES))
