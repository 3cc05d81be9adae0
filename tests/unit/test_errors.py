"""The error family: one line a class, each with its own code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import errors
from errors import ServiceError

RETRIED_BY_OPENAI_SDK = {408, 409, 429}
"""openai-python `_should_retry`: these and every 5xx."""


def family(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    for child in root.__subclasses__():
        yield child
        yield from family(child)


def test_the_drawing_in_the_docstring_is_the_family() -> None:
    drawn = dict(re.findall(r"── (\w+Error)(?: (\d{3}))?", errors.__doc__ or ""))
    assert set(drawn) == {kind.__name__ for kind in family()}
    for kind in family():
        assert drawn[kind.__name__] in ("", str(kind.status)), kind


def test_no_two_classes_share_a_code() -> None:
    codes = [kind.code for kind in family()]
    assert len(set(codes)) == len(codes)


def test_the_type_says_whose_fault_it_is() -> None:
    for kind in family():
        if kind.status == 429:
            assert kind.type == "rate_limit_error"
        elif kind.status < 500:
            assert kind.type == "invalid_request_error", kind
        else:
            assert kind.type == "server_error", kind


def test_what_clients_retry_is_not_the_clients_mistake() -> None:
    """A wrong request that is sent again twice is a waste: none of its classes has a retried status."""
    mistakes = {kind.status for kind in family(errors.InvalidRequestError)} | {400, 404, 405, 413}
    assert mistakes.isdisjoint(RETRIED_BY_OPENAI_SDK)


def test_an_error_keeps_what_it_was_given() -> None:
    error = errors.OverloadedError("Full.", param="input", retry_after_s=3)
    assert (str(error), error.message, error.param, error.retry_after_s) == ("Full.", "Full.", "input", 3)
