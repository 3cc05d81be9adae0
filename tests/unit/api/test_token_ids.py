"""cl100k_base ids to text: the numbers of OpenAI's tiktoken, which is not installed here."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.token_ids import CL100K_BASE, decode
from errors import InvalidRequestError

SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""What tiktoken expects of the file (tiktoken_ext/openai_public.py)."""

MOST = 2**20
"""More bytes than any text of this file has."""

TEXTS = [
    ("Hello, world!", [9906, 11, 1917, 0]),
    (
        "The quick brown fox jumps over the lazy dog.",
        [791, 4062, 14198, 39935, 35308, 927, 279, 16053, 5679, 13],
    ),
    ("日本の首都は東京です。", [9080, 22656, 16144, 61075, 72368, 15682, 14276, 109, 47653, 38641, 1811]),
    (
        "機械学習は面白い。",
        [162, 102, 253, 162, 95, 108, 48864, 163, 123, 240, 15682, 28190, 23706, 121, 16995, 1811],
    ),
    (
        "😀🎉👨‍👩‍👧",
        [76460, 222, 9468, 236, 231, 9468, 239, 101, 378, 235, 9468, 239, 102, 378, 235, 9468, 239, 100],
    ),
    ("naïve façade – Ümläute", [3458, 38672, 588, 95972, 1037, 1389, 31612, 1029, 2357, 1088]),
    ("def f(x):\n    return x ** 2\n", [755, 282, 2120, 997, 262, 471, 865, 3146, 220, 17, 198]),
    ("  \t\n ", [99351, 220]),
    ("안녕하세요 세계", [31495, 230, 75265, 243, 92245, 28867, 116, 22783, 226]),
    ("Привет, мир", [54745, 28089, 8341, 11, 11562, 78746]),
    ("\x00 \ufeff", [188, 76880]),
    ("3.14159265358979", [18, 13, 9335, 20128, 21598, 22905, 4643]),
    ("𠮷野家", [172, 254, 106, 115, 13393, 236, 46729]),
    (
        "<|endoftext|>a<|fim_prefix|><|fim_middle|><|fim_suffix|><|endofprompt|>",
        [100257, 64, 100258, 100259, 100260, 100276],
    ),
    ("\ufffd", [76460]),  # 😀 cut after its third byte
    ("\ufffd", [222]),  # and the byte that is left
    ("\ufffd", [165, 105]),  # 鬱 without its last byte
    ("\ufffd\ufffd", [105, 109]),  # and without its first
    ("\ufffd", [172, 254, 106]),
    ("\ufffd\ufffd\ufffd", [254, 106, 115]),
    ("\ufffd\ufffdb", [222, 128, 65]),
    ("\x00b", [188, 65]),
]
"""By tiktoken 0.14.0: `encode(text, allowed_special="all")`, and `decode(ids)` for parts of a letter."""

BYTE_IDS = {
    base64.b64decode(token): int(rank) for token, rank in map(bytes.split, CL100K_BASE.read_bytes().splitlines())
}
"""Every token by its bytes, all 256 single bytes among them."""


def test_the_file_is_openais() -> None:
    assert hashlib.sha256(CL100K_BASE.read_bytes()).hexdigest() == SHA256


def test_every_array_becomes_the_text_that_tiktoken_says_in_order() -> None:
    assert decode([ids for _, ids in TEXTS], MOST) == [text for text, _ in TEXTS]
    assert decode([], MOST) == []


@given(text=st.text())
@example(text="👩‍🚀\x00\ufeff\u202e")
def test_any_text_comes_back_from_the_ids_of_its_bytes(text: str) -> None:
    assert decode([[BYTE_IDS[bytes([byte])] for byte in text.encode()]], MOST) == [text]


@given(tokens=st.lists(st.sampled_from(sorted(BYTE_IDS)), min_size=1, max_size=20))
def test_any_tokens_are_the_text_of_their_bytes(tokens: list[bytes]) -> None:
    assert decode([[BYTE_IDS[token] for token in tokens]], MOST) == [b"".join(tokens).decode("utf-8", errors="replace")]


@pytest.mark.parametrize("unknown", [-1, 100256, 100261, 100275, 100277, 2**31, -(2**70)])
@pytest.mark.parametrize("place", [0, 2])
def test_an_unknown_id_is_refused_by_its_array(unknown: int, place: int) -> None:
    arrays = [[9906], [11], [1917]]
    arrays[place] = [0, unknown, 1]
    with pytest.raises(
        InvalidRequestError, match=rf"^input\.{place} has a token id that is not in cl100k_base"
    ) as raised:
        decode(arrays, MOST)
    assert raised.value.param == f"input.{place}"
    assert str(unknown) not in raised.value.message.replace("100276", "")


def test_what_ids_stand_for_is_bounded_before_it_is_made() -> None:
    longest = max(BYTE_IDS, key=len)
    assert len(longest) >= 100
    many = [[BYTE_IDS[longest]] * 10] * 3
    assert "".join(decode(many, 30 * len(longest))).encode() == longest * 30
    with pytest.raises(
        InvalidRequestError, match=r"decode to more than \d+ bytes of text \(MAX_BODY_BYTES\)"
    ) as raised:
        decode(many, 30 * len(longest) - 1)
    assert raised.value.param == "input"
