"""The recorded requests equal those of the installed clients."""

from tests.clients.capture import capture, kept


def test_new_requests_equal_the_recorded_ones(url: str) -> None:
    captured = capture(url)
    assert captured
    assert captured == {name: kept(name) for name in captured}
