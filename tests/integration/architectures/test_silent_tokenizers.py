"""Silent failures of tokenizers: wrong ids, lost segments, wrong limits.

Each test checks the ids or numbers, and that they differ clearly without the fix.
"""

from __future__ import annotations

import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sentencepiece
import transformers
from tokenizers import Tokenizer

from models.catalog import Tokenizer as Rules
from models.store import ModelStore
from runners.text.tokenization import TextTokenizer, load_text_tokenizer
from tests.integration.architectures.reference import CLEARLY, TEXTS, Reranker, apart, assert_right
from tests.integration.architectures.workshop import (
    CATALOG,
    QUERY,
    Model,
    Workshop,
    answer,
    check_loading,
    import_folder,
    numbers,
    served,
)
from tests.tiny import corpus
from tests.tolerance import FLOAT32, scaled

FULL_WIDTH = "ＡＢＣ ｆｕｌｌ－ｗｉｄｔｈ １２３"
UNKNOWN_XLMR = 3
THREADS = 8


def tokenizer_of(model: Model) -> TextTokenizer:
    return load_text_tokenizer(model.stored.folder, model.spec, model.stored.facts)


def ids(model: Model, text: str) -> list[int]:
    """The ids of one text, as the model gets them."""
    sequences, _ = tokenizer_of(model).encode_texts([text])
    return sequences[0].input_ids


def as_it_comes(model: Model) -> Reranker:
    """The CrossEncoder without fixes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Reranker(model.spec.repo, model.original, fixed=False)


@pytest.mark.parametrize("name", ["japanese-reranker-large", "japanese-reranker-base"])
async def test_japanese_bert_gets_segment_ids(name: str, workshop: Workshop) -> None:
    """BertJapaneseTokenizer of transformers 5 returns no token_type_ids."""
    model = workshop.model(name)
    right = await assert_right(model)
    (sequence,), _ = tokenizer_of(model).encode_pairs("火星", ["赤い惑星"])
    assert sequence.token_type_ids == sorted(sequence.token_type_ids or [])
    assert set(sequence.token_type_ids or []) == {0, 1}
    unfixed = await served(model, TEXTS, token_type_ids=False)
    assert apart(unfixed, right) > CLEARLY
    assert apart(unfixed, as_it_comes(model).numbers(TEXTS, 512)) < scaled(unfixed)  # every token in segment 0


@pytest.mark.parametrize("name", ["luke-japanese-base", "glucose-ja-v2"])
async def test_mluke_gets_the_ids_of_its_training(name: str, workshop: Workshop) -> None:
    """Sentencepiece's ids are one too small, because `<s>`, `<pad>`, `</s>`, `<unk>` come first."""
    model = workshop.model(name)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model.original / "sentencepiece.bpe.model"))
    for text in (*corpus.JAPANESE[:4], FULL_WIDTH.lower(), "planet"):
        raw = pieces.encode(text)
        assert ids(model, text) == [0, *(piece + 1 if piece else UNKNOWN_XLMR for piece in raw), 2]
    assert UNKNOWN_XLMR not in ids(model, FULL_WIDTH)  # NFKC folds it into known letters
    right = await assert_right(model)
    bare = transformers.AutoTokenizer.from_pretrained(model.original)
    assert bare("planet")["input_ids"] != ids(model, "planet")
    lower_case = model.spec.tokenizer.lower_case
    unfixed = workshop.model(name, tokenizer=Rules(backend="auto", lower_case=lower_case))
    assert apart(await served(unfixed, TEXTS), right) > CLEARLY


async def test_luke_lowercases_texts(workshop: Workshop) -> None:
    """`do_lower_case` is in sentence_bert_config.json, which tokenizer classes ignore."""
    model = workshop.model("luke-japanese-base")
    await assert_right(model)
    mixed, lower = await served(model, ["The PLANET Mars", "the planet mars"])
    assert apart(mixed, lower) < FLOAT32
    unfixed = workshop.model("luke-japanese-base", tokenizer=Rules(backend="xlm-roberta"))
    mixed, lower = await served(unfixed, ["The PLANET Mars", "the planet mars"])
    assert apart(mixed, lower) > CLEARLY


async def test_deberta_folds_full_width_letters(workshop: Workshop) -> None:
    """tokenizer.json has the NFKC table; the class of transformers 5 builds a tokenizer without it."""
    model = workshop.model("mxbai-rerank-large")
    await assert_right(model)
    folded, plain = await served(model, [FULL_WIDTH, "ABC full-width 123"])
    assert abs(folded - plain) < scaled(plain)
    unfixed = as_it_comes(model).numbers([FULL_WIDTH, "ABC full-width 123"], 512)
    assert abs(unfixed[0] - unfixed[1]) > CLEARLY


async def test_e5_mistral_appends_its_end_token(workshop: Workshop) -> None:
    """tokenizer.json omits `</s>`, whose state is the embedding."""
    model = workshop.model("e5-mistral-7b")
    right = await assert_right(model)
    assert ids(model, "Mars")[0] == 1
    assert ids(model, "Mars")[-1] == 2
    assert Tokenizer.from_file(str(model.original / "tokenizer.json")).encode("Mars").ids[-1] != 2
    unfixed = workshop.model("e5-mistral-7b", tokenizer=Rules())
    assert apart(await served(unfixed, TEXTS), right) > CLEARLY


async def test_nv_embed_truncates_its_end_token(workshop: Workshop) -> None:
    """Its authors append `</s>` as text before truncation."""
    model = workshop.model("nv-embed-v2")
    assert ids(model, "Mars")[-1] == 2
    (cut,), (truncation,) = tokenizer_of(model).encode_texts(["planet " * 40_000])
    assert len(cut) == truncation.kept == model.stored.facts.max_tokens
    assert cut.input_ids[-1] != 2


async def test_minilm_ignores_the_truncation_of_its_tokenizer_file(workshop: Workshop) -> None:
    """tokenizer.json has truncation and padding at 128 tokens; the model's limit is 256."""
    model = workshop.model("all-minilm-l6-v2")
    stored = Tokenizer.from_file(str(model.stored.folder / "tokenizer.json"))
    assert stored.truncation is not None
    assert stored.truncation["max_length"] == 128
    text = " ".join(corpus.ENGLISH[:12])
    assert 128 < len(ids(model, text)) <= 256
    assert len(stored.encode(text).ids) == len(stored.encode("a").ids) == 128
    await assert_right(model, [text, "a"])


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("multilingual-e5-base", (None, 514, 8192)),
        ("bge-reranker-base", (514,)),
        ("luke-japanese-base", (8192,)),
        ("all-mpnet-base-v2", (None,)),
    ],
)
async def test_the_limit_is_two_less_than_the_position_table(
    name: str, limits: tuple[int | None, ...], workshop: Workshop, tmp_path: Path
) -> None:
    """A table of 514 rows allows 512 tokens, also if neither catalogue nor repository has a limit."""
    folder = workshop.copy(name, tmp_path / "copy")
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.max_position_embeddings == 514
    (folder / "sentence_bert_config.json").unlink(missing_ok=True)
    tokenizer_config = (folder / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(tokenizer_config.replace(" 512", " 1000000000000000019884624838656"))
    for limit in limits:
        spec = CATALOG.get(name).model_copy(update={"max_tokens": limit})
        store = ModelStore(tmp_path / f"store-{limit}")
        model = Model(spec, folder, import_folder(spec, folder, store, check_loading))
        assert model.stored.facts.max_tokens == 512
    text = "planet " * 2000
    with model.running() as loaded:
        assert (await answer(loaded, [text])).truncated[0].kept == 512
    with (
        pytest.raises(Exception, match=r"index|range|expanded size|size of tensor"),
        model.running(max_tokens=514) as loaded,
    ):
        numbers(await answer(loaded, [text]))


@pytest.mark.parametrize("name", ["bge-m3", "jina-reranker-turbo", "japanese-reranker-base", "e5-mistral-7b"])
def test_threads_share_a_tokenizer_without_sharing_truncation(name: str, workshop: Workshop) -> None:
    """Eight threads with texts and pairs of all lengths, some of them truncated."""
    model = workshop.model(name)
    tokenizer = load_text_tokenizer(
        model.stored.folder, model.spec, model.stored.facts.model_copy(update={"max_tokens": 60})
    )
    texts = [" ".join(corpus.ENGLISH[:count]) + corpus.JAPANESE[count] for count in range(9)]
    alone = {text: tokenizer.encode_texts([text])[0][0] for text in texts}
    paired = {text: tokenizer.encode_pairs(QUERY, [text])[0][0] for text in texts}
    assert len({len(sequence) for sequence in alone.values()}) > 2

    def encode(seed: int) -> None:
        order = random.Random(seed).sample(texts * 4, k=len(texts) * 4)
        assert tokenizer.encode_texts(order)[0] == [alone[text] for text in order]
        assert tokenizer.encode_pairs(QUERY, order)[0] == [paired[text] for text in order]
        for text in order[:8]:
            assert tokenizer.encode_texts([text])[0] == [alone[text]]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(encode, range(THREADS)))


def test_a_length_passed_to_transformers_changes_the_shared_tokenizer(workshop: Workshop) -> None:
    """Shows, without a race, the failure that the test above prevents."""
    model = workshop.model("bge-m3")
    text = "planet " * 100
    shared = transformers.AutoTokenizer.from_pretrained(model.original)
    shared(text, truncation=True, max_length=8)
    assert shared.backend_tokenizer.truncation["max_length"] == 8
    assert len(shared.backend_tokenizer.encode(text).ids) == 8
    tokenizer = tokenizer_of(model)
    for limit, kept in ((8, 8), (200, 102), (8, 8)):
        tokenizer.max_tokens = limit
        assert len(tokenizer.encode_texts([text])[0][0]) == kept
