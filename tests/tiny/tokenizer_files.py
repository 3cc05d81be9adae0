"""Writes the tokenizer files of a family as in its Hub repositories."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from transformers import BertJapaneseTokenizer

from . import corpus, vocab
from .layout import write_json

NO_LIMIT = 1000000000000000019884624838656
"""transformers' default for `model_max_length`."""
XLM_ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
}
BERT_TOKENS = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}

PAIRS = tuple(
    (lines[0], other) for lines in (corpus.ENGLISH, corpus.JAPANESE[1:]) for other in (*lines[1:8], corpus.OTHER[2])
)
"""Queries and documents for scaling a random head."""


class EncodedPair(NamedTuple):
    """Two texts as one sequence: ids and segments of the same length."""

    input_ids: list[int]
    token_type_ids: list[int]


def encode_pairs(folder: Path) -> list[EncodedPair]:
    """Encode `PAIRS` with the folder's tokenizer.json."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = [tokenizer.encode(query, document) for query, document in PAIRS]
    return [EncodedPair(pair.ids, pair.type_ids) for pair in encoded]


def encode_japanese_pairs(folder: Path) -> list[EncodedPair]:
    """Encode `PAIRS` with MeCab and vocab.txt, and with segment ids."""
    tokenizer = BertJapaneseTokenizer(
        str(folder / "vocab.txt"), word_tokenizer_type="mecab", mecab_kwargs={"mecab_dic": "unidic_lite"}
    )
    pairs = []
    for query, document in PAIRS:
        first, second = (tokenizer.encode(text, add_special_tokens=False) for text in (query, document))
        ids = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id, *second, tokenizer.sep_token_id]
        pairs.append(EncodedPair(ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)))
    return pairs


def added_token(content: str, *, lstrip: bool = False) -> dict[str, Any]:
    """A special token in tokenizer_config.json's format."""
    return {"content": content, "lstrip": lstrip, "normalized": False, "rstrip": False, "single_word": False}


def decoder_table(tokenizer: tokenizers.Tokenizer) -> dict[str, dict[str, Any]]:
    """`added_tokens_decoder`: id -> token, as in transformers 4.34 and later."""
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    return {
        str(index): added_token(token.content, lstrip=token.lstrip) | {"special": token.special}
        for index, token in added
    }


def write_tokenizer(
    folder: Path,
    tokenizer: tokenizers.Tokenizer,
    *,
    config: Mapping[str, Any],
    special: Mapping[str, Any] | None,
) -> None:
    """tokenizer.json, tokenizer_config.json and, unless `special` is None, special_tokens_map.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder_table(tokenizer)} | dict(config))
    if special is not None:
        write_json(folder / "special_tokens_map.json", dict(special))


def write_bert(folder: Path, *, max_length: int) -> int:
    """vocab.txt and the fast files of an uncased BERT; returns the vocabulary size."""
    tokenizer = vocab.bert()
    write_lines(folder / "vocab.txt", vocab.english_wordpieces())
    config = BERT_TOKENS | {
        "clean_up_tokenization_spaces": True,
        "do_basic_tokenize": True,
        "do_lower_case": True,
        "model_max_length": max_length,
        "never_split": None,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
    }
    write_tokenizer(folder, tokenizer, config=config, special=BERT_TOKENS)
    return tokenizer.get_vocab_size()


def write_mpnet(folder: Path) -> int:
    """vocab.txt and the fast files of MPNet; returns the vocabulary size."""
    tokenizer = vocab.mpnet()
    write_lines(folder / "vocab.txt", vocab.mpnet_wordpieces())
    special: dict[str, Any] = XLM_ROBERTA_TOKENS | {"unk_token": "[UNK]"}
    special["mask_token"] = added_token("<mask>", lstrip=True)
    config = special | {
        "do_lower_case": True,
        "mask_token": "<mask>",
        "model_max_length": 512,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "MPNetTokenizer",
    }
    write_tokenizer(folder, tokenizer, config=config, special=special)
    return tokenizer.get_vocab_size()


def write_xlm_roberta(folder: Path, *, max_length: int) -> int:
    """sentencepiece.bpe.model and the fast files of XLM-R; returns the vocabulary size."""
    tokenizer = vocab.xlm_roberta()
    (folder / "sentencepiece.bpe.model").write_bytes(vocab.xlm_roberta_pieces().model)
    special = XLM_ROBERTA_TOKENS | {"mask_token": added_token("<mask>", lstrip=True)}
    config = XLM_ROBERTA_TOKENS | {
        "clean_up_tokenization_spaces": True,
        "mask_token": "<mask>",
        "model_max_length": max_length,
        "tokenizer_class": "XLMRobertaTokenizer",
    }
    write_tokenizer(folder, tokenizer, config=config, special=special)
    return tokenizer.get_vocab_size()


def write_mluke(folder: Path, *, max_length: int) -> int:
    """sentencepiece.bpe.model and the slow files of mLUKE, no tokenizer.json; returns the vocabulary size.

    Ids follow XLM-R (one more than sentencepiece's), then `<mask>`, `<ent>` and `<ent2>`.
    """
    trained = vocab.xlm_roberta_pieces()
    (folder / "sentencepiece.bpe.model").write_bytes(trained.model)
    base = len(trained.pieces) + 2
    entities = {"[MASK]": 0, "[UNK]": 1, "[PAD]": 2, "[MASK2]": 3}
    write_json(folder / "entity_vocab.json", entities)
    write_json(folder / "added_tokens.json", {"<ent>": base, "<ent2>": base + 1})
    mask = added_token("<mask>", lstrip=True)
    special = XLM_ROBERTA_TOKENS | {"additional_special_tokens": ["<ent>", "<ent2>"] * 3, "mask_token": mask}
    write_json(folder / "special_tokens_map.json", special)
    config = special | {
        "entity_mask2_token": "[MASK2]",
        "entity_mask_token": "[MASK]",
        "entity_pad_token": "[PAD]",
        "entity_token_1": {"__type": "AddedToken"} | added_token("<ent>"),
        "entity_token_2": {"__type": "AddedToken"} | added_token("<ent2>"),
        "entity_unk_token": "[UNK]",
        "mask_token": {"__type": "AddedToken"} | mask,
        "max_entity_length": 32,
        "max_mention_length": 30,
        "model_max_length": max_length,
        "sp_model_kwargs": {},
        "task": None,
        "tokenizer_class": "MLukeTokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)
    return base + 2


def write_deberta(folder: Path) -> int:
    """spm.model and the fast files of DeBERTa-v3; returns the pieces without `[MASK]`, added after."""
    tokenizer = vocab.deberta()
    (folder / "spm.model").write_bytes(vocab.deberta_pieces().model)
    write_json(folder / "added_tokens.json", {"[MASK]": len(vocab.deberta_pieces().pieces)})
    special = BERT_TOKENS | {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    config = special | {
        "clean_up_tokenization_spaces": True,
        "do_lower_case": False,
        "model_max_length": 512,
        "sp_model_kwargs": {},
        "split_by_punct": False,
        "tokenizer_class": "DebertaV2Tokenizer",
        "vocab_type": "spm",
    }
    write_tokenizer(folder, tokenizer, config=config, special=special)
    return len(vocab.deberta_pieces().pieces)


def write_bert_japanese(folder: Path, *, max_length: int) -> int:
    """vocab.txt and the slow files of cl-tohoku's BERT (MeCab words, word pieces), no tokenizer.json."""
    pieces = vocab.japanese_wordpieces()
    write_lines(folder / "vocab.txt", pieces)
    config = BERT_TOKENS | {
        "added_tokens_decoder": {str(pieces.index(token)): added_token(token) for token in BERT_TOKENS.values()},
        "clean_up_tokenization_spaces": True,
        "do_lower_case": False,
        "do_subword_tokenize": True,
        "do_word_tokenize": True,
        "jumanpp_kwargs": None,
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
        "model_max_length": max_length,
        "never_split": None,
        "subword_tokenizer_type": "wordpiece",
        "sudachi_kwargs": None,
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "mecab",
    }
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", BERT_TOKENS)
    return len(pieces)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write one piece per line, as in vocab.txt."""
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_byte_level_source(folder: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """Write vocab.json and merges.txt, which Qwen's repositories also have."""
    model = json.loads(tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", model["vocab"])
    write_lines(folder / "merges.txt", ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])])
