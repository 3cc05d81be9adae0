"""Token arrays to text: OpenAI's `input` may be ids of tiktoken's cl100k_base, and LangChain's default is just that.

The encoding lies beside this file, as OpenAI publishes it (a line for each token: its bytes in base64, and its id),
so nothing is fetched. Only decoding is needed, which is a look-up.
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


def decode(inputs: Sequence[Sequence[int]], most_bytes: int) -> list[str]:
    """Arrays of cl100k_base ids to texts; bytes that are no UTF-8 become U+FFFD, as in tiktoken.

    InvalidRequestError names the array with an id that does not exist, and refuses texts of more than `most_bytes`
    in all before it makes them: an id may stand for 128 bytes.
    """
    tokens = _tokens()
    size = 0
    for index, ids in enumerate(inputs):
        try:
            size += sum(len(tokens[token_id]) for token_id in ids)
        except KeyError:
            raise _unknown(index) from None
        if size > most_bytes:
            raise InvalidRequestError(
                f"The token ids of input stand for more than {most_bytes} bytes of text (MAX_BODY_BYTES). Send several "
                "requests.",
                param="input",
            )
    return [b"".join([tokens[token_id] for token_id in ids]).decode("utf-8", "replace") for ids in inputs]


def _unknown(index: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"input.{index} has a token id that cl100k_base does not know (0 to {max(_SPECIAL)}). Arrays are read as "
        "cl100k_base, as OpenAI's clients send them; send token_encoding: \"model\" for ids of the model's own "
        "vocabulary.",
        param=f"input.{index}",
    )


@cache
def _tokens() -> dict[int, bytes]:
    lines = CL100K_BASE.read_bytes().splitlines()
    pairs = (line.split() for line in lines)
    return {int(token_id): base64.b64decode(token) for token, token_id in pairs} | _SPECIAL
