"""Silent failures: without a fix, a model returns plausible but wrong numbers and no error.

Each test checks the result, and that it differs clearly without the fix.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from numpy.testing import assert_allclose
from torch import nn

from errors import ModelUnavailableError
from importing.conversion import gte
from models.store import ModelStore
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.rerank import RerankRunner
from tests.integration.architectures.reference import (
    CLEARLY,
    PUBLISHED_EMBEDDERS,
    TEXTS,
    apart,
    assert_right,
    reference_for,
    text_of,
)
from tests.integration.architectures.workshop import (
    DEVICE,
    QUERY,
    Workshop,
    answer,
    import_folder,
    numbers,
    served,
)
from tests.references import jina_bert
from tests.tiny.layout import write_json
from tests.tolerance import FLOAT32, scaled

HALF = [
    *("ruri-base", "mxbai-embed-large", "mxbai-rerank-large", "gte-multilingual-reranker", "gte-modernbert-base"),
    *("jina-reranker-v2-multilingual", "jina-reranker-turbo", "nv-embed-v2", "e5-mistral-7b"),
    *("qwen3-embedding-0.6b", "qwen3-reranker-0.6b", "mxbai-rerank-base-v2"),
]
PICKLES = ["bge-m3", "bce-reranker-base_v1", "japanese-simcse-large", "luke-japanese-base"]
CODE = ["jina-reranker-v2-multilingual", "jina-reranker-turbo", "nv-embed-v2"]


def floating_types(loaded: LoadedModel) -> set[torch.dtype]:
    """Data types of all parameters and buffers of the backend's module."""
    assert loaded.engine is not None
    held = [part for part in vars(loaded.engine.local.backend).values() if isinstance(part, nn.Module)]
    tensors = [tensor for module in held for tensor in (*module.parameters(), *module.buffers())]
    return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("name", HALF)
async def test_half_precision_files_are_computed_in_float32_on_a_cpu(name: str, workshop: Workshop) -> None:
    """transformers 5 uses the file's data type by default."""
    model = workshop.model(name)
    assert model.stored.facts.weight_dtype in ("F16", "BF16")
    with model.running() as loaded:
        assert floating_types(loaded) == {torch.float32}
    right = await assert_right(model)
    with model.running(replace(DEVICE, dtype="bfloat16")) as loaded:
        assert torch.bfloat16 in floating_types(loaded)
        assert apart(numbers(await answer(loaded, TEXTS)), right) > 5 * FLOAT32


def test_without_a_dtype_transformers_loads_half_precision(workshop: Workshop) -> None:
    """Shows the failure that the test above prevents."""
    folder = workshop.model("gte-modernbert-base").stored.folder
    bare = transformers.AutoModel.from_pretrained(folder)
    assert {parameter.dtype for parameter in bare.parameters()} == {torch.float16}


def test_jina_turbo_is_not_loaded_as_plain_bert(workshop: Workshop) -> None:
    """Its config says `bert`; transformers would initialize the missing tensors randomly."""
    with pytest.raises(ModelUnavailableError, match=r"cannot be loaded|is refused|must be a classifier"):
        workshop.model("jina-reranker-turbo", conversion="native")


def test_jina_turbo_as_plain_bert_has_random_weights(workshop: Workshop) -> None:
    """Shows why imports reject it: two loads of the same file differ."""
    original = workshop.original("jina-reranker-turbo")
    ids = torch.tensor([[0, 9, 8, 7, 2]])
    logits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        loaded = transformers.BertForSequenceClassification.from_pretrained(original, num_labels=1).float().eval()
        with torch.no_grad():
            logits.append(float(loaded(input_ids=ids).logits[0, 0]))
    assert abs(logits[0] - logits[1]) > 1e-3


async def test_jina_turbo_halves_the_odd_slopes(workshop: Workshop) -> None:
    """For 12 heads, which is not a power of two, the authors' slopes differ from the ALiBi paper."""
    model = workshop.model("jina-reranker-turbo")
    pairs = [(QUERY, text) for text in TEXTS]
    right = await served(model, TEXTS)
    expected = jina_bert.logits(model.original, pairs, 512)
    assert_allclose(right, expected, rtol=0, atol=scaled(expected))
    assert apart(right, jina_bert.logits(model.original, pairs, 512, slopes="paper")) > CLEARLY


async def test_gte_scales_its_rotary_frequencies_twice(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The native class by default only enlarges the base, which is wrong."""
    model = workshop.model("gte-multilingual-reranker")
    right = await assert_right(model)
    theta_alone = {"rope_type": "default", "rope_theta": 160_000.0}
    monkeypatch.setattr(gte, "rope_parameters", lambda _config: theta_alone)
    unfixed = workshop.model("gte-multilingual-reranker", note="theta alone")
    assert json.loads((unfixed.stored.folder / "config.json").read_text())["rope_parameters"] == theta_alone
    assert apart(await served(unfixed, TEXTS), right) > CLEARLY


@pytest.mark.parametrize(
    ("name", "layers", "without"),
    [
        ("embeddinggemma-300m", ("2_Dense", "3_Dense"), ()),
        ("labse", ("2_Dense",), ()),
        ("ettin-reranker-17m-v1", ("2_Dense", "3_LayerNorm", "4_Dense"), ("2_Dense", "4_Dense")),
    ],
)
async def test_layers_follow_the_pooling(
    name: str, layers: tuple[str, ...], without: tuple[str, ...], workshop: Workshop
) -> None:
    """Without some of these layers, the results have the same shape."""
    model = workshop.model(name)
    assert model.stored.facts.dense == layers
    right = await assert_right(model)
    unfixed = await served(model, TEXTS, dense=without)
    assert unfixed.shape == right.shape
    assert apart(unfixed, right) > CLEARLY


@pytest.mark.parametrize("name", ["bge-m3", "gte-modernbert-base", "e5-mistral-7b"])
async def test_pooling_is_the_repositorys_own(name: str, workshop: Workshop) -> None:
    model = workshop.model(name)
    right = await assert_right(model)
    assert apart(await served(model, TEXTS, pooling="mean"), right) > CLEARLY


async def test_nomic_reads_more_than_2048_tokens(workshop: Workshop) -> None:
    """Its config has other keys than the native class, whose defaults are 2048 positions and a base of 1000."""
    model = workshop.model("nomic-embed-text-v1.5")
    config = json.loads((model.stored.folder / "config.json").read_text())
    assert (config["max_position_embeddings"], config["hidden_size"]) == (8192, 32)
    reference = reference_for(model.spec, model.original)
    texts = [text_of(reference, 2100), text_of(reference, 2100)[:-40]]
    expected = reference.numbers(texts, 8192)
    assert apart(expected[:1], expected[1:]) > 5 * FLOAT32
    assert_allclose(await served(model, texts), expected, rtol=0, atol=FLOAT32)


def test_nomic_with_scaled_positions_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    """The native class has no such scaling, and would ignore the key."""
    folder = workshop.copy("nomic-embed-text-v1.5", tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"rotary_scaling_factor": 2})
    with pytest.raises(ModelUnavailableError, match="unsupported value of rotary_scaling_factor"):
        import_folder(workshop.model("nomic-embed-text-v1.5").spec, folder, ModelStore(tmp_path / "store"))


async def test_nv_embed_leaves_the_instruction_out_of_the_pooling(workshop: Workshop) -> None:
    model = workshop.model("nv-embed-v2")
    prompt = "Instruct: Given a question, retrieve passages that answer the question\nQuery: "
    right = PUBLISHED_EMBEDDERS[model.spec.repo](model.original, TEXTS, instruction=prompt, max_tokens=512)
    vectors = []
    for mask_prompt in (True, False):
        with model.running(mask_prompt=mask_prompt) as loaded:
            assert isinstance(loaded.runner, EmbeddingRunner)
            vectors.append((await loaded.runner.embed(TEXTS, prompt=prompt)).dense)
    assert_allclose(vectors[0], right, rtol=0, atol=FLOAT32)
    assert apart(vectors[1], right) > CLEARLY


async def test_nv_embed_reads_in_both_directions(workshop: Workshop) -> None:
    """Its weights also fit a causal Mistral, which computes different vectors."""
    model = workshop.model("nv-embed-v2")
    right = await assert_right(model)
    causal = torch.triu(torch.full((1, 1, 512, 512), torch.finfo(torch.float32).min), diagonal=1)
    forward = transformers.MistralModel.forward

    def masked(self: Any, *, attention_mask: torch.Tensor, **inputs: Any) -> Any:
        length = attention_mask.shape[-1]
        return forward(self, attention_mask=attention_mask.minimum(causal[..., :length, :length]), **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.MistralModel, "forward", masked)
        assert apart(await served(model, TEXTS), right) > CLEARLY


async def test_a_prompted_reranker_gets_its_template(workshop: Workshop) -> None:
    """Query and document without the template have a score, too."""
    model = workshop.model("qwen3-reranker-0.6b")
    right = await assert_right(model)
    assert model.spec.scoring is not None
    bare = model.spec.scoring.model_copy(update={"prefix": "", "body": "{instruction}{query}{document}"})
    unfixed = workshop.model("qwen3-reranker-0.6b", scoring=bare)
    assert apart(await served(unfixed, TEXTS), right) > CLEARLY
    with model.running() as loaded:
        assert loaded.engine is not None
        other = RerankRunner(loaded.engine, "Find the opposite")
        assert apart((await other.rerank(QUERY, TEXTS)).raw, right) > CLEARLY


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("name", [*PICKLES, *CODE])
def test_only_safetensors_json_and_vocabularies_are_stored(name: str, workshop: Workshop) -> None:
    model = workshop.model(name)
    before = {path.suffix for path in model.original.iterdir()}
    assert before & {".bin", ".py"}
    stored = [path for path in model.stored.folder.rglob("*") if path.is_file() and "openvino" not in path.parts]
    assert {path.suffix for path in stored} <= {".json", ".safetensors", ".txt", ".yaml", ".model"}
    assert any(path.suffix == ".safetensors" for path in stored)
    assert "auto_map" not in json.loads((model.stored.folder / "config.json").read_text())


@pytest.mark.parametrize("name", PICKLES)
async def test_pickled_tensors_become_the_same_safetensors(name: str, workshop: Workshop) -> None:
    model = workshop.model(name)
    assert not list(model.original.glob("*.safetensors"))
    await assert_right(model)
