"""Decode token ids of tiktoken's cl100k_base, which OpenAI's `input` may have and LangChain sends by default.

The vocabulary is in a file beside this one, as OpenAI publishes it: a line for each token with its bytes in base64 and
its id.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from errors import InvalidRequestError

CL100K_BASE = Path(__file__).with_name("cl100k_base.tiktoken")

_SPECIAL = {
    100257: b"<|endoftext|>",
    100258: b"<|fim_prefix|>",
    100259: b"<|fim_middle|>",
    100260: b"<|fim_suffix|>",
    100276: b"<|endofprompt|>",
}
"""From tiktoken's definition of cl100k_base."""


def decode(inputs: Sequence[Sequence[int]], max_bytes: int) -> list[str]:
    """Texts of arrays of cl100k_base ids. Bytes that are not valid UTF-8 become U+FFFD, as in tiktoken.

    InvalidRequestError names an array with an unknown id. It is also raised before decoding if all texts together
    would exceed `max_bytes`: one id may stand for 128 bytes.
    """
    tokens = _tokens()
    size = 0
    for index, ids in enumerate(inputs):
        try:
            size += sum(len(tokens[token_id]) for token_id in ids)
        except KeyError:
            raise _unknown(index) from None
        if size > max_bytes:
            raise InvalidRequestError(
                f"The token ids of input decode to more than {max_bytes} bytes of text (MAX_BODY_BYTES). Send several "
                "requests.",
                param="input",
            )
    return [b"".join([tokens[token_id] for token_id in ids]).decode("utf-8", "replace") for ids in inputs]


def _unknown(index: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"input.{index} has a token id that is not in cl100k_base (0 to {max(_SPECIAL)}). Send token_encoding: "
        '"model" for ids of the model\'s own vocabulary.',
        param=f"input.{index}",
    )


@cache
def _tokens() -> dict[int, bytes]:
    lines = CL100K_BASE.read_bytes().splitlines()
    pairs = (line.split() for line in lines)
    return {int(token_id): base64.b64decode(token) for token, token_id in pairs} | _SPECIAL
