"""Tiny random models in the exact layout of their Hub repositories, built in code in a blink.

    from tests.tiny import BUILDERS, build
    folder = build("BAAI/bge-m3", tmp_path / "bge-m3", seed=0)

`build` writes what `snapshot_download` of that repository would leave, only small: two layers, 32 to 64 wide,
a vocabulary of 800 to 1,400 pieces. True to the original are the file names, tensor names and stored type,
config keys, tokenizer files and special ids, position table lengths, pooling and prompts, and the clutter
(README.md, onnx/, openvino/) that an importer must step over. Same name and seed, same bytes in every
tensor; another name or seed, other weights. Nothing here needs the network; Japanese BERT needs fugashi
and unidic-lite.

Why not transformers' own initialisation: at 0.02 attention is uniform, order and segments are invisible and
all logits are zero, so a wrong forward pass looks right. See `weights`.

Rooms, in the order of a build: `corpus` (the text) -> `vocab` (trained tokenizers) -> `tokenizer_files` ->
`weights` -> `layout` (sentence-transformers' JSON, clutter). One file a family uses them and exports its own
`BUILDERS`: full Hub name -> function of (folder, seed).

Unverified guesses, because no file of the real repository could be read: whether ModernBERT-ja's tokenizer
folds full-width letters (here: no), granite multilingual's tokenizers (here: Gemma's pieces for 311m,
byte-level BPE for 97m), GLuCoSE-v2's file list, the tensor prefix of Japanese-SimCSE, which old files kept
`position_ids` (sure for all-MiniLM), whether gte-modernbert and granite normalise, the pair template of
Qwen3-Embedding.
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
    """Write the repository `full_name` into `folder`, made if absent, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    BUILDERS[full_name](folder, seed)
    return folder
