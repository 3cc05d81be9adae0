"""Tokenizers with tiny vocabularies, trained in code: the content of each family's `tokenizer.json`.

All functions depend only on the built-in corpus. They are cached, because training a sentencepiece model (0.1 to 0.3 s)
is the slowest step of a build, and return immutable values.
"""

import io
import json
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from . import corpus

SPACE = "▁"
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 and Qwen3 split text before byte-pair encoding (transformers, tokenization_qwen2.py)."""


class SentencePieces(NamedTuple):
    """A trained sentencepiece model: the file's bytes, (piece, score) by id, and the normalizer's table."""

    model: bytes
    pieces: tuple[tuple[str, float], ...]
    charsmap: bytes


def _train(size: int, **options: Any) -> SentencePieces:
    """Train on the corpus, with one thread for reproducible bytes."""
    writer = io.BytesIO()
    letters = (corpus.KANA, corpus.ASCII, corpus.FULL_WIDTH)
    lines = [*corpus.LINES, *letters, *(" ".join(row) for row in letters)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=writer,
        vocab_size=size,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    messages: Any = sentencepiece_model_pb2  # generated at run time, so without types
    proto = messages.ModelProto.FromString(writer.getvalue())
    pieces = tuple((piece.piece, piece.score) for piece in proto.pieces)
    return SentencePieces(writer.getvalue(), pieces, proto.normalizer_spec.precompiled_charsmap)


@cache
def xlm_roberta_pieces() -> SentencePieces:
    """Unigram pieces of XLM-R, mLUKE and BGE: ids 0 to 2 are `<unk>`, `<s>`, `</s>`; with NFKC."""
    return _train(1100, normalization_rule_name="nmt_nfkc")


@cache
def deberta_pieces() -> SentencePieces:
    """Unigram pieces of DeBERTa-v3: `[PAD]`, `[CLS]`, `[SEP]`, `[UNK]` are ids 0 to 3; with NFKC."""
    named = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    options: dict[str, Any] = {f"{key}_piece": piece for key, piece in named.items()}
    options.update({f"{key}_id": index for index, key in enumerate(named)})
    return _train(1000, normalization_rule_name="nmt_nfkc", **options)


@cache
def llama_unigram_pieces() -> SentencePieces:
    """Unigram with byte fallback, no normalizer (ModernBERT-ja): `<pad>` 3, `<sep>` 4, `<mask>` 5, `<cls>` 6."""
    return _train(
        1400,
        normalization_rule_name="identity",
        pad_id=3,
        control_symbols=["<sep>", "<mask>", "<cls>"],
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
    )


@cache
def gemma_pieces() -> SentencePieces:
    """Sentencepiece BPE as Gemma: `<pad>` 0, `<eos>` 1, `<bos>` 2, `<unk>` 3, `<mask>` 4, byte fallback."""
    return _train(
        1400,
        model_type="bpe",
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=["<mask>"],
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
    )


@cache
def english_wordpieces() -> tuple[str, ...]:
    """An uncased BERT vocabulary with the true ids: `[PAD]` 0, `[UNK]` 100, `[CLS]` 101, `[SEP]` 102."""
    unused = [f"[unused{index}]" for index in range(104)]
    head = ["[PAD]", *unused[:99], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *unused[99:]]
    words = Counter(word.lower() for line in corpus.ENGLISH for word in line.split() if word.isalpha())
    letters = sorted({letter.lower() for letter in corpus.letters()} | {chr(0x3099), chr(0x309A)})
    endings = ["##" + ending for ending in ("s", "es", "ed", "er", "ing", "ly", "tion", "al", "ment", "ness")]
    return tuple(dict.fromkeys([*head, *letters, *("##" + letter for letter in letters), *endings, *sorted(words)]))


@cache
def japanese_wordpieces() -> tuple[str, ...]:
    """A cl-tohoku v2/v3 vocabulary (`[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]` first) of MeCab words."""
    import fugashi  # type: ignore[import-untyped]
    import unidic_lite  # type: ignore[import-untyped]

    tagger = fugashi.GenericTagger(f"-d {unidic_lite.DICDIR} -r {unidic_lite.DICDIR}/mecabrc")
    words = {word.surface for line in (*corpus.JAPANESE, *corpus.ENGLISH) for word in tagger(line)}
    letters = [letter for letter in corpus.letters() if letter not in corpus.FULL_WIDTH]
    head = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"[unused{index}]" for index in range(10))]
    return tuple(dict.fromkeys([*head, *letters, *("##" + letter for letter in letters), *sorted(words)]))


@cache
def byte_pairs(size: int, split: str | None) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Byte-level BPE (vocabulary, merges); `split` splits the text first, None: GPT-2's expression."""
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(split)
    tokenizer.train_from_iterator(list(corpus.LINES) * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], tuple((left, right) for left, right in model["merges"])


def byte_level(split: str | None) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer of a byte-level BPE: GPT-2's built-in expression, or `split` before plain bytes."""
    if split is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    cut = pre_tokenizers.Split(tokenizers.Regex(split), behavior="isolated")
    return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def template(start: str, end: str, ids: dict[str, int], pair: str) -> processors.PostProcessor:
    """The post-processor that adds special tokens: `start $A end` alone, `pair` for two texts."""
    special = [(token, ids[token]) for token in (start, end) if token]
    single = " ".join(part for part in (start, "$A", end) if part)
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)


def xlm_roberta() -> tokenizers.Tokenizer:
    """XLM-R's tokenizer.json: fairseq order (`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3), `<mask>` last."""
    trained = xlm_roberta_pieces()
    head = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = tokenizers.Tokenizer(models.Unigram([*head, *trained.pieces[3:], ("<mask>", 0.0)], 3, False))
    tokenizer.normalizer = normalizers.Precompiled(trained.charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.post_processor = template("<s>", "</s>", {"<s>": 0, "</s>": 2}, "<s> $A </s> </s> $B </s>")
    tokenizer.add_special_tokens(
        [*(AddedToken(token, normalized=False) for token, _ in head), AddedToken("<mask>", lstrip=True)]
    )
    return tokenizer


def deberta() -> tokenizers.Tokenizer:
    """DeBERTa-v3's tokenizer.json: strip, NFKC table, metaspace; `[MASK]` added after the pieces."""
    trained = deberta_pieces()
    tokenizer = tokenizers.Tokenizer(models.Unigram(list(trained.pieces), 3, False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Strip(),
            normalizers.Precompiled(trained.charsmap),
            normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = template("[CLS]", "[SEP]", {"[CLS]": 1, "[SEP]": 2}, pair)
    tokens = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def bert() -> tokenizers.Tokenizer:
    """BERT uncased: clean, lower case, split CJK, word pieces, segments 0 and 1."""
    words = {piece: index for index, piece in enumerate(english_wordpieces())}
    tokenizer = _word_pieces(words, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = template("[CLS]", "[SEP]", words, pair)
    return tokenizer


def mpnet_wordpieces() -> tuple[str, ...]:
    """BERT's vocabulary after four tokens of MPNet and before `<mask>`; the unknown token is `[UNK]` (104)."""
    return ("<s>", "<pad>", "</s>", "<unk>", *english_wordpieces(), "<mask>")


def mpnet() -> tokenizers.Tokenizer:
    """MPNet: BERT's word pieces with RoBERTa's template `<s> A </s></s> B </s>`, one segment."""
    words = {piece: index for index, piece in enumerate(mpnet_wordpieces())}
    tokenizer = _word_pieces(words, ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def _word_pieces(words: dict[str, int], special: tuple[str, ...]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokenizer


def llama_unigram() -> tokenizers.Tokenizer:
    """ModernBERT-ja: unigram pieces with Llama's template `<s> A </s>` (for pairs `<s> A </s><s> B </s>`)."""
    trained = llama_unigram_pieces()
    tokenizer = tokenizers.Tokenizer(models.Unigram(list(trained.pieces), 0, True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    pair = "<s> $A </s> <s>:1 $B:1 </s>:1"
    tokenizer.post_processor = template("<s>", "</s>", {"<s>": 1, "</s>": 2}, pair)
    tokens = ("<unk>", "<s>", "</s>", "<pad>", "<sep>", "<mask>", "<cls>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def gemma() -> tokenizers.Tokenizer:
    """Gemma: spaces become `▁`, BPE over the whole text, template `<bos> A <eos>`."""
    trained = gemma_pieces()
    vocabulary = {piece: index for index, (piece, _) in enumerate(trained.pieces)}
    splits = [
        (index, piece[:cut], piece[cut:])
        for piece, index in vocabulary.items()
        if piece not in BYTE_PIECES and not piece.startswith("<")
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    merges = [(left, right) for _, left, right in sorted(splits)]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    pair = "<bos> $A <eos> <bos>:1 $B:1 <eos>:1"
    tokenizer.post_processor = template("<bos>", "<eos>", vocabulary, pair)
    tokens = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def byte_level_bpe(size: int, *, split: str | None, special: tuple[str, ...]) -> tokenizers.Tokenizer:
    """Byte-level BPE with NFC and special tokens after the pieces; the caller sets the post-processor."""
    vocabulary, merges = byte_pairs(size, split)
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = byte_level(split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokenizer
