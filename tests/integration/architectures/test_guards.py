"""Imports reject damaged or dangerous checkpoints, and never use random weights, foreign code or the network."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from errors import ModelUnavailableError
from models.store import ModelStore
from tests.integration.architectures.workshop import (
    CATALOG,
    Workshop,
    answer,
    import_folder,
    numbers,
    served,
)
from tests.tiny.layout import write_json
from tests.tolerance import scaled

Tensors = dict[str, torch.Tensor]

OWN = ["jina-reranker-turbo", "nv-embed-v2"]
NATIVE = ["bge-reranker-base", "multilingual-e5-base", "qwen3-reranker-0.6b", "gte-multilingual-reranker"]


class Spoilt:
    """A copy of a checkpoint that a test damages, and a store that must stay empty."""

    def __init__(self, workshop: Workshop, root: Path, name: str) -> None:
        self.spec = CATALOG.get(name)
        self.folder = workshop.copy(name, root / "copy")
        self.store = ModelStore(root / "store")

    def weights(self, change: Callable[[Tensors], Tensors]) -> None:
        """Apply `change` to the tensors of the largest weight file."""
        path = max(self.folder.glob("model*.safetensors"), key=lambda file: file.stat().st_size)
        state = load_file(path)
        path.unlink()  # load_file has mapped it
        save_file(change(state), path, metadata={"format": "pt"})

    def config(self, file: str = "config.json", **changes: Any) -> None:
        """Change keys of a JSON file."""
        write_json(self.folder / file, json.loads((self.folder / file).read_text()) | changes)

    def refused(self, message: str) -> str:
        """Import the copy; fails unless the error has this message and the store stays empty."""
        with pytest.raises(ModelUnavailableError, match=message) as caught:
            import_folder(self.spec, self.folder, self.store)
        assert self.store.find(self.spec) is None
        assert not self.store.list()
        assert {path.suffix for path in self.store.work.iterdir()} <= {".lock"}
        return str(caught.value)


Spoil = Callable[[str], Spoilt]


@pytest.fixture
def spoil(workshop: Workshop, tmp_path: Path) -> Spoil:
    """`spoil(name)`: a copy of a checkpoint."""
    return lambda name: Spoilt(workshop, tmp_path, name)


def a_matrix(state: Tensors) -> str:
    """The name of a tensor that every load needs."""
    return next(name for name in sorted(state) if ".0." in name and state[name].ndim == 2)


# ------------------------------------------------------------------ tensors


@pytest.mark.parametrize("name", [*NATIVE, *OWN])
def test_a_missing_tensor_is_rejected(name: str, spoil: Spoil) -> None:
    spoilt = spoil(name)
    spoilt.weights(lambda state: {key: value for key, value in state.items() if key != a_matrix(state)})
    spoilt.refused("missing keys")


@pytest.mark.parametrize("name", [*NATIVE, *OWN])
def test_an_unexpected_tensor_is_rejected(name: str, spoil: Spoil) -> None:
    spoilt = spoil(name)
    spoilt.weights(lambda state: state | {f"{a_matrix(state)}.lora_A": torch.ones(2, 2)})
    assert "lora_A" in spoilt.refused("unexpected keys")


@pytest.mark.parametrize("name", [*NATIVE, *OWN])
def test_a_tensor_of_the_wrong_shape_is_rejected(name: str, spoil: Spoil) -> None:
    spoilt = spoil(name)
    spoilt.weights(lambda state: state | {a_matrix(state): state[a_matrix(state)][:-1].contiguous()})
    spoilt.refused("mismatched keys|cannot be loaded.*(size|shape|mismatch)|cannot be loaded")


def test_a_missing_classifier_is_not_filled_with_random_numbers(spoil: Spoil) -> None:
    """transformers would only warn, and use a random head."""
    spoilt = spoil("bge-reranker-base")
    spoilt.weights(lambda state: {key: value for key, value in state.items() if "classifier" not in key})
    assert "classifier" in spoilt.refused("missing keys")


@pytest.mark.parametrize("architecture", ["BertModel", "BertForMaskedLM", "BertForTokenClassification", "", None])
def test_an_architecture_without_scores_is_rejected_as_a_reranker(architecture: str | None, spoil: Spoil) -> None:
    spoilt = spoil("ms-marco-minilm-l-6-v2")
    spoilt.config(architectures=None if architecture is None else [architecture])
    spoilt.refused("must be a classifier")


def test_a_bare_encoder_is_rejected_as_a_reranker(workshop: Workshop, tmp_path: Path) -> None:
    """A BertModel checkpoint with a reranker's block of the catalogue."""
    store = ModelStore(tmp_path)
    with pytest.raises(ModelUnavailableError, match="random weights"):
        import_folder(CATALOG.get("ms-marco-minilm-l-6-v2"), workshop.original("e5-base"), store)
    assert not store.list()


def test_a_classifier_is_rejected_as_an_embedder(spoil: Spoil) -> None:
    spoilt = spoil("e5-base")
    spoilt.config(architectures=["BertForSequenceClassification"])
    spoilt.refused("must be an encoder")


def test_a_classifier_with_two_labels_is_rejected(spoil: Spoil) -> None:
    spoilt = spoil("ms-marco-minilm-l-6-v2")
    spoilt.config(id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1})
    spoilt.weights(
        lambda state: {name: torch.cat([part] * 2) if "classifier" in name else part for name, part in state.items()}
    )
    spoilt.refused("must have 1 logit, not 2")


@pytest.mark.parametrize("name", ["bge-reranker-base", "multilingual-e5-base", *OWN])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_weights_are_rejected(name: str, value: float, spoil: Spoil) -> None:
    spoilt = spoil(name)
    spoilt.weights(lambda state: state | {a_matrix(state): torch.full_like(state[a_matrix(state)], value)})
    spoilt.refused("NaN or infinity")


def test_a_checkpoint_without_weights_is_rejected(spoil: Spoil) -> None:
    spoilt = spoil("e5-base")
    for path in (*spoilt.folder.glob("*.safetensors"), *spoilt.folder.glob("*.bin")):
        path.unlink()
    spoilt.refused("no weights")


# ------------------------------------------------------------------ code


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (exec, (f"open({str(self._marker)!r}, 'w').close()",))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch advises against the older of the formats
@pytest.mark.parametrize("protocol", ["torch", "plain"])
def test_a_pickle_with_code_is_rejected_and_does_not_run(protocol: str, spoil: Spoil, tmp_path: Path) -> None:
    spoilt, marker = spoil("bge-m3"), tmp_path / "marker"
    weights = spoilt.folder / "pytorch_model.bin"
    state: dict[str, Any] = dict(torch.load(weights, weights_only=True)) | {"payload": Payload(marker)}
    weights.unlink()
    if protocol == "torch":
        torch.save(state, weights)
    else:
        weights.write_bytes(pickle.dumps({"payload": Payload(marker)}))
    spoilt.refused("its files cannot be read")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()  # torch.load runs the code


def test_a_pickle_beside_safetensors_is_not_opened(spoil: Spoil, tmp_path: Path) -> None:
    spoilt, marker = spoil("bge-reranker-base"), tmp_path / "marker"
    torch.save({"payload": Payload(marker)}, spoilt.folder / "pytorch_model.bin")
    import_folder(spoilt.spec, spoilt.folder, spoilt.store)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["bge-reranker-base", "multilingual-e5-base", "luke-japanese-base", "ruri-base", *OWN])
def test_code_of_a_repository_neither_runs_nor_is_stored(name: str, spoil: Spoil, tmp_path: Path) -> None:
    spoilt, marker = spoil(name), tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w').close()\nraise RuntimeError('remote code was executed')\n"
    for file in ("evil.py", "__init__.py", "modeling_bert.py", "configuration_bert.py", "tokenization_bert.py"):
        (spoilt.folder / file).write_text(code)
    heads = ("Config", "Model", "ModelForSequenceClassification", "ModelForCausalLM")
    spoilt.config(auto_map={f"Auto{head}": "evil.Evil" for head in heads} | {"AutoTokenizer": ["evil.Evil", None]})
    spoilt.config("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    stored = import_folder(spoilt.spec, spoilt.folder, spoilt.store)
    assert not marker.exists()
    assert not [path for path in stored.folder.rglob("*") if path.suffix in (".py", ".pyc", ".bin", ".pkl")]
    assert "auto_map" not in json.loads((stored.folder / "config.json").read_text())


@pytest.mark.parametrize(
    "kind", ["evil.Evil", "custom_st.Transformer", "evil.Dense", "sentence_transformers.models.WordEmbeddings"]
)
def test_a_custom_module_is_rejected(kind: str, spoil: Spoil, tmp_path: Path) -> None:
    spoilt, marker = spoil("embeddinggemma-300m"), tmp_path / "marker"
    for file in ("evil.py", "custom_st.py"):
        (spoilt.folder / file).write_text(f"open({str(marker)!r}, 'w').close()\n")
    path = spoilt.folder / "modules.json"
    first, *others = json.loads(path.read_text())
    write_json(path, [first | {"type": kind}, *others])
    spoilt.refused("modules.json")
    assert not marker.exists()


@pytest.mark.parametrize("place", ["../outside", "/tmp", "..", "2_Dense/../../outside"])
def test_a_layer_outside_the_repository_is_rejected(place: str, spoil: Spoil, tmp_path: Path) -> None:
    """Otherwise modules.json could name any path for reading and writing."""
    spoilt = spoil("embeddinggemma-300m")
    outside = tmp_path / "outside"
    (spoilt.folder / "2_Dense").rename(outside)
    path = spoilt.folder / "modules.json"
    modules = [
        module | {"path": place} if module["path"] == "2_Dense" else module for module in json.loads(path.read_text())
    ]
    write_json(path, modules)
    spoilt.refused("modules.json")


# ------------------------------------------------------------------ inputs


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network functions raise."""

    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "name",
    ["bge-m3", "embeddinggemma-300m", "ruri-base", "bge-reranker-v2-m3", "jina-reranker-turbo", "qwen3-reranker-0.6b"],
)
async def test_a_text_that_is_a_url_or_path_is_not_opened(name: str, workshop: Workshop, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    model = workshop.model(name)
    texts = [
        "http://169.254.169.254/latest/meta-data/",
        "https://example.com/cat.png",
        f"file://{secret}",
        str(secret),
        "../../etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "{{ config }} ${jndi:ldap://example.com/a} <script>",
        "{instruction} {query} {document}",
    ]
    first = await served(model, texts)
    secret.unlink()
    again = await served(model, texts)
    assert np.isfinite(first).all()
    assert_allclose(first, again, rtol=0, atol=scaled(first))  # the file's content has no effect
    with model.running() as loaded:
        changed = numbers(await answer(loaded, [text[:-1] for text in texts]))
    assert (np.abs(first - changed).reshape(len(texts), -1).max(axis=1) > scaled(first)).all()


@pytest.mark.usefixtures("no_network")
def test_an_import_from_a_folder_uses_no_network(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("bge-m3", "luke-japanese-base", "ruri-base", "nv-embed-v2"):
        assert import_folder(CATALOG.get(name), workshop.original(name), ModelStore(tmp_path / name)).facts.revision
