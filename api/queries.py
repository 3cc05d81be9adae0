"""The parameters in the query string of a request."""

from __future__ import annotations

from urllib.parse import parse_qs

from api.routing import Request
from errors import InvalidRequestError

_MAX_FIELDS = 20


class Query:
    """The parameters of one request. An empty one counts as absent."""

    def __init__(self, request: Request) -> None:
        try:
            given = parse_qs(request.scope["query_string"].decode("latin-1"), max_num_fields=_MAX_FIELDS)
        except ValueError:
            raise InvalidRequestError(f"The query string has more than {_MAX_FIELDS} parameters.") from None
        self._given: dict[str, str] = {name: values[0] for name, values in given.items()}

    def text(self, name: str) -> str | None:
        """A parameter; None if it is absent."""
        return self._given.get(name)

    def number(self, name: str, most: int, *, default: int) -> int:
        """A whole number from 1 to `most`; InvalidRequestError."""
        text = self._given.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
            raise InvalidRequestError(f"{name} must be a number from 1 to {most}.", param=name)
        return int(text)

    def one_of(self, name: str, values: tuple[str, ...]) -> str:
        """One of the values, the first of which is the default; InvalidRequestError."""
        text = self._given.get(name, values[0])
        if text not in values:
            raise InvalidRequestError(f"{name} must be {' or '.join(values)}.", param=name)
        return text
