"""The kept requests are those that the clients make today."""

from tests.clients.capture import capture, kept


def test_fresh_requests_equal_the_kept_ones(url: str) -> None:
    captured = capture(url)
    assert captured
    assert captured == {name: kept(name) for name in captured}
