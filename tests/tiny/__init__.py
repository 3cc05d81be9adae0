"""Tiny random models in the exact layout of their Hub repositories, built in code.

    from tests.tiny import BUILDERS, build
    folder = build("BAAI/bge-m3", tmp_path / "bge-m3", seed=0)

`build` writes the files of `snapshot_download`, but small: two layers, 32 to 64 wide, a vocabulary of 800 to 1,400
pieces. The same as in the original are file names, tensor names and types, config keys, tokenizer files and special
ids, position table lengths, pooling and prompts, and files that an import must ignore (README.md, onnx/, openvino/).
The weights depend only on name and seed. No network is needed; Japanese BERT needs fugashi and unidic-lite.

transformers' initialization is not used, because wrong forward passes would not be noticed; see `weights`.

Modules, in the order of a build: `corpus` (the text) -> `vocab` (trained tokenizers) -> `tokenizer_files` -> `weights`
-> `layout` (sentence-transformers' JSON, other files). Each family has a module that exports `BUILDERS`: full Hub
name -> function of (folder, seed).

Unverified, because the real files could not be read: whether ModernBERT-ja's tokenizer folds full-width letters (here:
no), granite multilingual's tokenizers (here: Gemma's pieces for 311m, byte-level BPE for 97m), GLuCoSE-v2's file list,
the tensor prefix of Japanese-SimCSE, which old files have `position_ids` (known for all-MiniLM), whether
gte-modernbert and granite normalize, the pair template of Qwen3-Embedding.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

MODULES = (
    "bert",
    "bert_japanese",
    "cohere",
    "deberta",
    "e5_mistral",
    "gemma",
    "gte_new",
    "jina_bert",
    "jina_v2_flash",
    "luke",
    "modernbert",
    "mpnet",
    "nv_embed",
    "qwen3",
    "xlm_roberta",
)

BUILDERS: dict[str, Callable[[Path, int], None]] = {}
for module in MODULES:
    if find_spec(f"{__name__}.{module}") is not None:
        BUILDERS |= import_module(f"{__name__}.{module}").BUILDERS


def build(full_name: str, folder: Path, seed: int = 0) -> Path:
    """Write the repository `full_name` into `folder`, which is created if missing; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    BUILDERS[full_name](folder, seed)
    return folder
