"""The files beside the weights: sentence-transformers' JSON, and other files of a Hub repository.

modules.json names `2_Normalize`, but the folder does not exist: Normalize has no config, and git has no empty folders.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

MODULE = "sentence_transformers.models."
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt": "pooling_mode_mean_sqrt_len_tokens",
    "weighted": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
LIBRARIES = ("sentence_transformers", "transformers", "pytorch")
ONNX_EXTRAS = ("onnx/config.json", "onnx/model.onnx", "onnx/tokenizer_config.json")
OPENVINO_EXTRAS = ("openvino/openvino_model.bin", "openvino/openvino_model.xml")


@dataclass(frozen=True, kw_only=True)
class SentenceFiles:
    """The content of sentence-transformers' files; None omits the file or the key."""

    pooling: str = "mean"
    normalize: bool = True
    max_seq_length: int | None = 512
    do_lower_case: bool = False
    versions: tuple[str, str, str] | None = ("2.2.2", "4.28.1", "2.0.0")
    prompts: dict[str, str] | None = None
    similarity: str | None = None
    legacy_pooling: bool = False
    include_prompt: bool = True
    middle_modules: Sequence[str] = field(default=())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with non-ASCII letters; create parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_sentence_files(folder: Path, dimensions: int, files: SentenceFiles) -> None:
    """modules.json, config_sentence_transformers.json, sentence_bert_config.json and 1_Pooling/config.json.

    Repositories before sentence-transformers 3 have only versions and the first four pooling keys (`legacy_pooling`);
    newer ones also have prompts, and `include_prompt` in the pooling.
    """
    kinds = ["Transformer", "Pooling", *files.middle_modules, *(["Normalize"] if files.normalize else [])]
    modules = [
        {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": MODULE + kind}
        for index, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    about: dict[str, Any] = {}
    if files.versions is not None:
        about["__version__"] = dict(zip(LIBRARIES, files.versions, strict=True))
    if files.prompts is not None:
        about |= {
            "prompts": files.prompts,
            "default_prompt_name": None,
            "similarity_fn_name": files.similarity,
        }
    if about:
        write_json(folder / "config_sentence_transformers.json", about)
    if files.max_seq_length is not None:
        lengths = {"max_seq_length": files.max_seq_length, "do_lower_case": files.do_lower_case}
        write_json(folder / "sentence_bert_config.json", lengths)
    modes: dict[str, Any] = {key: mode == files.pooling for mode, key in POOLINGS.items()}
    if files.legacy_pooling:
        modes = dict(list(modes.items())[:4])
    else:
        modes["include_prompt"] = files.include_prompt
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": dimensions} | modes)


def write_dense(folder: Path, weight: torch.Tensor, activation: str, bias: torch.Tensor | None = None) -> None:
    """A Dense layer of sentence-transformers from its (out, in) weight."""
    state = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    outputs, inputs = weight.shape
    about = {"in_features": inputs, "out_features": outputs, "bias": bias is not None}
    write_json(folder / "config.json", about | {"activation_function": f"torch.nn.modules.{activation}"})


def write_extras(folder: Path, name: str, extras: Sequence[str] = ()) -> None:
    """Write README.md, .gitattributes and invalid `.onnx` or `.bin` files, none of which an import may open."""
    card = f"---\nlibrary_name: transformers\n---\n# {name}\nA tiny random stand-in written by tests/tiny.\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")
    for extra in extras:
        path = folder / extra
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            write_json(path, {})
        else:
            path.write_bytes(b"not a model: " + extra.encode())
