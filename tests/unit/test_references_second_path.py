"""The references agree with a second implementation.

jina-v2, gte, e5-mistral and the Mistral inside NV-Embed run once more through transformers' own classes in
float64; those keep their rotary tables in float32, hence the tolerance. JinaBERT and latent attention have no
class there: their parts are compared with torch's functions.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import (
    GteConfig,
    GteForSequenceClassification,
    GteModel,
    MistralConfig,
    MistralModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from tests.references import (
    formulas,
    gte_new,
    jina_bert,
    jina_v2_flash,
    last_token,
    mistral,
    nv_embed,
    reading,
)
from tests.references.samples import INSTRUCTION, PAIRS, TEXTS, padded
from tests.tiny import e5_mistral as tiny_e5
from tests.tiny import gte_new as tiny_gte
from tests.tiny import jina_v2_flash as tiny_jina_v2
from tests.tiny import nv_embed as tiny_nv

ROTARY_FLOAT32 = 1e-4


def test_jina_v2_equals_native_xlm_roberta(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_jina_v2.BUILDERS[tiny_jina_v2.NAME](folder, 3)
    config = reading.read_config(folder)
    renames = {
        "emb_ln": "embeddings.LayerNorm",
        "layers": "layer",
        "mixer.out_proj": "attention.output.dense",
    }
    renames |= {"norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"}
    renames |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        for old, new in renames.items():
            name = name.replace(f".{old}.", f".{new}.")
        parts = [name]
        if "mixer.Wqkv" in name:
            split = "attention.self.{}".format
            parts = [name.replace("mixer.Wqkv", split(part)) for part in ("query", "key", "value")]
        state |= dict(zip(parts, tensor.double().chunk(len(parts)), strict=True))
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**config)).double().eval()
    model.load_state_dict(state)
    tokenizer = reading.read_tokenizer(folder)
    batch = padded([reading.roberta_pair_ids(tokenizer, pair, 512) for pair in PAIRS], 1)
    with torch.inference_mode():
        expected = model(**batch).logits[:, 0].numpy()
    assert_allclose(jina_v2_flash.logits(folder, PAIRS, 512), expected, atol=1e-9)


def gte_config(folder: Path, *, factor: float | None = None) -> GteConfig:
    """The native config of a `new` folder: NTK as a linear scaling of the larger base, by s^(2/D)."""
    config = reading.read_config(folder)
    scale, dim = config["rope_scaling"]["factor"], config["hidden_size"] // config["num_attention_heads"]
    linear = scale ** (2 / dim) if factor is None else factor
    rope = {"rope_type": "linear", "factor": linear, "rope_theta": config["rope_theta"] * scale}
    left_out = ("model_type", "rope_scaling", "auto_map")
    kept = {key: value for key, value in config.items() if key not in left_out}
    return GteConfig(**kept | {"rope_parameters": rope})


def test_gte_reranker_equals_native_gte(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_gte.BUILDERS[tiny_gte.RERANKER](folder, 3)
    tokenizer = reading.read_tokenizer(folder)
    batch = padded([reading.roberta_pair_ids(tokenizer, pair, 512) for pair in PAIRS], 1)
    found = {}
    for factor in (None, 1.0):
        model = GteForSequenceClassification.from_pretrained(
            folder, config=gte_config(folder, factor=factor), dtype=torch.float64
        )
        with torch.inference_mode():
            found[factor] = model.eval()(**batch).logits[:, 0].numpy()
    expected = gte_new.logits(folder, PAIRS, 512)
    assert_allclose(found[None], expected, atol=ROTARY_FLOAT32)
    assert np.abs(found[1.0] - expected).max() > 1e-2


def test_gte_embedder_equals_native_gte(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_gte.BUILDERS[tiny_gte.EMBEDDER](folder, 3)
    model = GteModel.from_pretrained(folder, config=gte_config(folder), dtype=torch.float64).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    batch = padded([tokenizer.encode(text).ids for text in TEXTS], 1)
    with torch.inference_mode():
        first = functional.normalize(model(**batch).last_hidden_state[:, 0]).numpy()
    assert_allclose(gte_new.embeddings(folder, TEXTS, max_tokens=512), first, atol=ROTARY_FLOAT32)


def test_gte_frequencies_of_the_real_size() -> None:
    config = {"hidden_size": 768, "num_attention_heads": 12, "rope_theta": 20000}
    scaled = gte_new.frequencies(config | {"rope_scaling": {"type": "ntk", "factor": 8.0}})
    places = np.arange(32)
    assert_allclose(scaled, 160000.0 ** (-places / 32) / 8.0 ** (1 / 32), rtol=1e-12)


def test_e5_mistral_equals_native_mistral(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_e5.BUILDERS[tiny_e5.NAME](folder, 3)
    model = MistralModel.from_pretrained(folder, dtype=torch.float64).eval()
    rows = last_token.token_ids(folder, [INSTRUCTION + text for text in TEXTS], 512)
    with torch.inference_mode():
        states = model(**padded(rows, 2)).last_hidden_state
    last = torch.stack([states[place, len(row) - 1] for place, row in enumerate(rows)])
    vectors = last_token.embeddings(folder, TEXTS, instruction=INSTRUCTION, max_tokens=512)
    assert_allclose(vectors, functional.normalize(last).numpy(), atol=ROTARY_FLOAT32)


def test_sliding_window_equals_native_mistral(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_e5.BUILDERS[tiny_e5.NAME](folder, 3)
    config = reading.read_config(folder) | {"sliding_window": 5}
    model = MistralModel.from_pretrained(folder, config=MistralConfig(**config), dtype=torch.float64).eval()
    ids = last_token.token_ids(folder, TEXTS[:1], 512)[0]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).last_hidden_state[0].numpy()
    states = mistral.last_states(reading.read_tensors(folder), config, ids, prefix="", causal=True)
    assert_allclose(states, expected, atol=ROTARY_FLOAT32)


def test_nv_embed_backbone_equals_native_mistral_without_mask(tmp_path: Path) -> None:
    folder = tmp_path
    tiny_nv.BUILDERS[tiny_nv.NAME](folder, 3)
    tensors, config = reading.read_tensors(folder), reading.read_config(folder)["text_config"]
    model = MistralModel(MistralConfig(**config | {"model_type": "mistral"})).double().eval()
    prefix = "embedding_model."
    inner = {name: torch.tensor(tensor) for name, tensor in tensors.items() if name.startswith(prefix)}
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in inner.items()})
    ids = nv_embed.token_ids(folder, TEXTS[:1], instruction=INSTRUCTION, max_tokens=512)[0]
    everything = torch.zeros(1, 1, len(ids), len(ids), dtype=torch.float64)
    with torch.inference_mode():
        expected = model(torch.tensor([ids]), attention_mask=everything).last_hidden_state[0].numpy()
    states = mistral.last_states(tensors, config, ids, prefix=prefix, causal=False)
    assert_allclose(states, expected, atol=ROTARY_FLOAT32)
    causal = mistral.last_states(tensors, config, ids, prefix=prefix, causal=True)
    assert np.abs(causal - states).max() > 0.1


@pytest.mark.parametrize("slopes", ["reranker", "paper"])
def test_alibi_slopes(slopes: jina_bert.Slopes) -> None:
    exact = [2.0**-place for place in range(1, 9)]
    between = [2.0 ** -(place + (0.5 if slopes == "paper" else 1.5)) for place in range(4)]
    assert_allclose(jina_bert.head_slopes(8, slopes), exact, rtol=1e-12)
    assert_allclose(jina_bert.head_slopes(12, slopes), exact + between, rtol=1e-12)


def test_layer_formulas_equal_torch() -> None:
    random = np.random.default_rng(0)
    query, key, value = random.normal(size=(3, 4, 9, 8))
    distance = np.abs(np.subtract.outer(np.arange(9), np.arange(9)))
    bias = -distance * jina_bert.head_slopes(4)[:, None, None]
    expected = functional.scaled_dot_product_attention(
        torch.tensor(query), torch.tensor(key), torch.tensor(value), attn_mask=torch.tensor(bias)
    )
    mixed = formulas.attention(query, key, value, bias)
    assert_allclose(mixed, expected.permute(1, 0, 2).reshape(9, 32).numpy(), atol=1e-12)
    assert_allclose(formulas.gelu(query), functional.gelu(torch.tensor(query)).numpy(), atol=1e-12)
    assert_allclose(formulas.silu(query), functional.silu(torch.tensor(query)).numpy(), atol=1e-12)
    weight, bias = random.normal(size=(2, 8))
    normed = functional.layer_norm(torch.tensor(value), (8,), torch.tensor(weight), torch.tensor(bias), eps=1e-12)
    tensors = {"norm.weight": weight, "norm.bias": bias}
    assert_allclose(formulas.layer_norm(value, tensors, "norm", 1e-12), normed.numpy(), atol=1e-12)


def test_latent_attention_equals_torch(tmp_path: Path) -> None:
    """torch's own multi-head attention does the middle step; it wants q, k, v and out of one width."""
    tiny_nv.build(tmp_path, 3)
    tensors = {name: torch.tensor(tensor) for name, tensor in reading.read_tensors(tmp_path).items()}
    block = "latent_attention_model.cross_attend_blocks"
    hidden = torch.tensor(np.random.default_rng(0).normal(size=(7, 64)))
    heads, width = 4, 128

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = tensors[f"{block}.{name}.weight"], tensors[f"{block}.{name}.bias"]
        return functional.layer_norm(x, (64,), weight, bias)

    latents = norm(tensors["latent_attention_model.latents"], "0.norm_context")
    key, value = functional.linear(latents, tensors[f"{block}.0.fn.to_kv.weight"]).chunk(2, dim=-1)
    asked = functional.linear(norm(hidden, "0.norm"), tensors[f"{block}.0.fn.to_q.weight"])
    attention = torch.nn.MultiheadAttention(width, heads, bias=False, dtype=torch.float64)
    for parameter in (*attention.in_proj_weight.data.chunk(3), attention.out_proj.weight.data):
        parameter.copy_(torch.eye(width, dtype=torch.float64))
    with torch.inference_mode():
        mixed, _ = attention(asked, key, value)
    after = functional.linear(mixed, tensors[f"{block}.0.fn.to_out.weight"]) + hidden
    net = f"{block}.1.fn.net"
    plain, gate = functional.linear(norm(after, "1.norm"), tensors[f"{net}.0.weight"], tensors[f"{net}.0.bias"]).chunk(
        2, dim=-1
    )
    grown = plain * functional.gelu(gate)
    expected = functional.linear(grown, tensors[f"{net}.2.weight"], tensors[f"{net}.2.bias"]) + after
    ours = nv_embed.latent_attention(reading.read_tensors(tmp_path), hidden.numpy(), heads=heads)
    assert_allclose(ours, expected.numpy(), atol=1e-10)
