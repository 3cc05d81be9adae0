"""Bytes to a request: whatever arrives is a request or a 400, and no answer repeats a user's words."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.error_body import error_response
from api.json_body import read_json
from errors import BodyTooLargeError, InvalidRequestError
from settings import Settings, load_settings

LIMITS = load_settings({})
B = TypeVar("B", bound=BaseModel)


def parse(schema: type[B], body: bytes, limits: Settings = LIMITS) -> B:
    return schema.model_validate(read_json(body, limits), context=limits)


NOT_JSON = {
    "nothing": b"",
    "blank": b" ",
    "not JSON": b"input=a",
    "cut off": b'{"input": "a"',
    "two values": b'{"input": "a"} {}',
    "trailing comma": b'{"input": "a",}',
    "single quotes": b"{'input': 'a'}",
    "comment": b'{"input": "a"} // mine',
    "NaN": b'{"input": "a", "dimensions": NaN}',
    "Infinity": b'{"input": "a", "dimensions": Infinity}',
    "minus Infinity": b'{"input": "a", "unknown": -Infinity}',
    "NaN among ignored fields": b'{"input": "a", "unknown": [NaN]}',
    "invalid UTF-8": b'{"input": "\xff\xfe"}',
    "overlong UTF-8": b'{"input": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"input": "\xed\xa0\x80"}',
    "UTF-16": '{"input": "a"}'.encode("utf-16"),
    "lone high surrogate": b'{"input": "\\ud800"}',
    "lone low surrogate": b'{"input": "\\udc00"}',
    "control character": b'{"input": "\x00"}',
    "nested arrays": b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"unknown": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "huge number": b'{"input": "a", "dimensions": ' + b"9" * 4_301 + b"}",
}
NO_OBJECT = [b"[]", b'["a"]', b'"a"', b"1", b"null", b"true"]


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_broken_json_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"^The body is not valid JSON: .+ at line 1 column \d+.*\.$"):
        parse(EmbeddingRequest, body)


@pytest.mark.parametrize("body", NO_OBJECT)
def test_a_body_is_an_object(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"^The body must be a JSON object\.$"):
        parse(EmbeddingRequest, body)


def test_an_integer_beyond_what_is_read_says_so() -> None:
    with pytest.raises(InvalidRequestError, match=r"integers may have up to 4300 digits; send longer ones as strings"):
        parse(RerankRequest, b'{"query": "q", "documents": [{"text": "a", "n": %b}]}' % (b"9" * 5_000))


@pytest.mark.parametrize("value", ["1e400", "-1e400", "1.5", "0.0", "-1.0", "1e-400", "-" + "9" * 30])
def test_strange_numbers_are_the_fields_fault(value: str) -> None:
    with pytest.raises(ValidationError) as raised:
        parse(EmbeddingRequest, b'{"input": "a", "dimensions": %b}' % value.encode())
    answer = error_response(raised.value)
    assert json.loads(bytes(answer.body))["error"]["param"] == "dimensions"
    assert value.encode() not in bytes(answer.body)


def test_a_number_of_any_length_is_a_number() -> None:
    body = b'{"query": "q", "documents": ["a"], "top_n": %b}' % (b"9" * 4000)
    assert parse(RerankRequest, body).top_n == 10**4000 - 1


@pytest.mark.parametrize(("written", "number"), [(b"128.0", 128), (b"1.28e2", 128), (b"1e5", 100_000), (b"1.0", 1)])
def test_an_integer_may_be_written_with_a_point(written: bytes, number: int) -> None:
    request = parse(EmbeddingRequest, b'{"input": "a", "dimensions": %b}' % written)
    assert (request.dimensions, type(request.dimensions)) == (number, int)


BOMBS = {
    "numbers": b'{"input": [' + b"1," * 600 + b"1]}",
    "texts": b'{"input": [' + b'"a",' * 600 + b'"a"]}',
    "unused numbers": b'{"input": "a", "x": [' + b"1," * 600 + b"1]}",
    "lists": b'{"input": [' + b"[]," * 90 + b"[]]}",
    "objects": b'{"input": [' + b"{}," * 90 + b"{}]}",
    "fields": b'{"input": "a", ' + b",".join(b'"%d": 1' % number for number in range(90)) + b"}",
    "objects with fields": b'{"input": "a", "x": [' + b'{"a": 1},' * 50 + b"1]}",
    "numbers after an escaped quote": b'{"input": "\\"", "x": [' + b"1," * 600 + b"1]}",
    "numbers after an escaped backslash": b'{"input": "\\\\", "x": [' + b"1," * 600 + b"1]}",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_values_are_counted_before_they_are_made(body: bytes) -> None:
    few = load_settings({"MAX_BODY_VALUES": "500", "MAX_BODY_FIELDS": "80"})
    with pytest.raises(BodyTooLargeError, match=r"^The body has more than (500|80) .*\(MAX_BODY_(VALUES|FIELDS)\)"):
        parse(EmbeddingRequest, body, few)
    json.loads(body)


@pytest.mark.parametrize("text", ["a, b, " * 400, "[1, [2, {3: ", '\\"' * 700 + ",[{", '","' * 100, "\\\\" * 300 + ","])
def test_what_stands_in_a_text_is_not_counted(text: str) -> None:
    few = load_settings({"MAX_BODY_VALUES": "4", "MAX_BODY_FIELDS": "4"})
    body = json.dumps({"input": text}).encode()
    assert parse(EmbeddingRequest, body, few).input == [text]


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (EmbeddingRequest, {"input": [{}] * 5_000}),
        (RerankRequest, {"query": "q", "documents": [1] * 900}),
        (RerankRequest, {"query": "q", "documents": ["a"], "rank_fields": [1] * 5_000}),
    ],
)
def test_the_first_wrong_item_ends_the_search(schema: type[BaseModel], body: dict[str, Any]) -> None:
    """Each error would take a kilobyte."""
    with pytest.raises(ValidationError) as raised:
        schema.model_validate(body)
    assert raised.value.error_count() == 1


@pytest.mark.parametrize(
    ("schema", "body", "message"),
    [
        (EmbeddingRequest, {"input": [{}] * 3_000}, r"^input has 3000 items; .* at most 2048 \(MAX_INPUTS\)"),
        (EmbeddingRequest, {"input": [[]] * 3_000}, r"^input has 3000 items"),
        (RerankRequest, {"query": "q", "documents": [1] * 3_000}, r"^documents has 3000 .* 1000 \(MAX_DOCUMENTS\)"),
    ],
)
def test_a_list_that_is_too_long_is_not_looked_into(schema: Any, body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse(schema, json.dumps(body).encode())


def test_every_script_arrives_as_it_was_sent() -> None:
    texts = ["日本語", "🙂", "e\u0301", "\u202eright", "\\u0000", "a\nb", "\ufeff"]
    escaped = json.dumps({"input": texts}).encode()
    plain = json.dumps({"input": texts}, ensure_ascii=False).encode()
    assert parse(EmbeddingRequest, escaped).input == parse(EmbeddingRequest, plain).input == texts


def test_the_last_of_two_equal_keys_counts() -> None:
    assert parse(EmbeddingRequest, b'{"input": "a", "input": "b"}').input == ["b"]


FIELDS = sorted({*EmbeddingRequest.model_fields, *RerankRequest.model_fields, "unknown"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(min_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=9), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("schema", [EmbeddingRequest, RerankRequest])
@settings(max_examples=40)  # making them takes longer than reading them
@given(content=st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_any_json_is_a_request_or_a_400_without_the_users_words(
    schema: type[BaseModel], content: dict[str, Any]
) -> None:
    try:
        parse(schema, json.dumps(content).encode())
    except (InvalidRequestError, ValidationError) as error:
        response = error_response(error)
        assert response.status_code == 400
        message = json.loads(bytes(response.body))["error"]["message"]
        sent = [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', json.dumps(list(content.values())))]
        assert not [text for text in sent if len(text) > 8 and text in message]


@given(body=st.binary() | st.text().map(str.encode) | st.from_regex(rb"[\[\]{}\",:0-9a-z \\]*", fullmatch=True))
def test_any_bytes_are_a_request_or_a_400(body: bytes) -> None:
    try:
        parse(EmbeddingRequest, body)
    except (InvalidRequestError, ValidationError) as error:
        response = error_response(error)
        assert response.status_code == 400
