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
gte-modernbert and granite normalize, the pair template of Qwen3-Embedding, the end-of-text token of harrier and bekko,
the file list of mxbai-rerank-v2 and of jina-embeddings-v3-hf, which layers its adapters change, the special tokens of
sarashina and of Nemotron-3-Embed, and whether LateOn's first two Dense layers are residual (the number of its
parameters says so).
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
    "decoders",
    "e5_mistral",
    "gemma",
    "gte_new",
    "jina_bert",
    "jina_v2_flash",
    "jina_v3",
    "luke",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "nv_embed",
    "outputs",
    "qwen2",
    "qwen3",
    "xlm_roberta",
)

BUILDERS: dict[str, Callable[[Path, int], None]] = {}
for module in MODULES:
    if find_spec(f"{__name__}.{module}") is not None:
        BUILDERS |= import_module(f"{__name__}.{module}").BUILDERS

SAME_LAYOUT: dict[str, tuple[str, ...]] = {
    "Alibaba-NLP/gte-reranker-modernbert-base": ("ibm-granite/granite-embedding-reranker-english-r2",),
    "BAAI/bge-base-en-v1.5": (
        *(f"BAAI/bge-{size}-en-v1.5" for size in ("small", "large")),
        *(f"Snowflake/snowflake-arctic-embed-{size}" for size in ("s", "m", "l", "m-v1.5")),
    ),
    "BAAI/bge-reranker-base": ("BAAI/bge-reranker-large",),
    "BAAI/bge-reranker-v2-m3": ("hotchpotch/japanese-bge-reranker-v2-m3-v1",),
    "Qwen/Qwen3-Embedding-0.6B": (
        *(f"Qwen/Qwen3-Embedding-{size}" for size in ("4B", "8B")),
        *(f"codefuse-ai/F2LLM-v2-{size}" for size in ("80M", "160M", "330M", "0.6B", "1.7B", "4B", "8B", "14B")),
        "jinaai/jina-embeddings-v5-text-small-retrieval",
        "microsoft/harrier-oss-v1-0.6b",
    ),
    "Qwen/Qwen3-Reranker-0.6B": tuple(f"Qwen/Qwen3-Reranker-{size}" for size in ("4B", "8B")),
    "cl-nagoya/ruri-large": ("cl-nagoya/ruri-base",),
    "cl-nagoya/ruri-v3-30m": (
        *(f"cl-nagoya/ruri-v3-{size}" for size in ("70m", "130m", "310m")),
        "sionic-ai/comsat-embed-ja-0.3b-preview",
    ),
    "cross-encoder/ettin-reranker-17m-v1": tuple(
        f"cross-encoder/ettin-reranker-{size}-v1" for size in ("32m", "68m", "150m", "400m", "1b")
    ),
    "cross-encoder/ms-marco-MiniLM-L6-v2": ("cross-encoder/ms-marco-MiniLM-L12-v2",),
    "hotchpotch/bekko-embedding-v1-a8m": ("hotchpotch/bekko-embedding-v1-a25m",),
    "hotchpotch/japanese-reranker-cross-encoder-large-v1": ("hotchpotch/japanese-reranker-cross-encoder-base-v1",),
    "hotchpotch/japanese-reranker-cross-encoder-small-v1": ("cross-encoder/mmarco-mMiniLMv2-L12-H384-v1",),
    "hotchpotch/japanese-reranker-tiny-v2": (
        *(f"hotchpotch/japanese-reranker-{size}-v2" for size in ("xsmall", "small", "base")),
        "cl-nagoya/ruri-v3-reranker-310m",
    ),
    "ibm-granite/granite-embedding-english-r2": ("ibm-granite/granite-embedding-small-english-r2",),
    "intfloat/e5-base": (
        "intfloat/e5-large",
        *(f"intfloat/e5-{size}-v2" for size in ("small", "base", "large")),
        *(f"thenlper/gte-{size}" for size in ("small", "base", "large")),
        "sentence-transformers/paraphrase-MiniLM-L6-v2",
        "shibing624/text2vec-base-chinese",
    ),
    "intfloat/multilingual-e5-large": ("intfloat/multilingual-e5-base", "intfloat/multilingual-e5-large-instruct"),
    "jinaai/jina-embeddings-v3-hf/retrieval_query": tuple(
        f"jinaai/jina-embeddings-v3-hf/{task}"
        for task in ("retrieval_passage", "separation", "classification", "text_matching")
    ),
    "mixedbread-ai/mxbai-rerank-base-v2": ("mixedbread-ai/mxbai-rerank-large-v2",),
    "nvidia/Nemotron-3-Embed-1B-BF16": ("nvidia/Nemotron-3-Embed-8B-BF16",),
    "nomic-ai/nomic-embed-text-v1.5": ("nomic-ai/nomic-embed-text-v1",),
    "sentence-transformers/all-MiniLM-L6-v2": (
        "sentence-transformers/all-MiniLM-L12-v2",
        "sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
    ),
}
"""Full name -> other repositories of the same layout, which differ in sizes, formats and prompts: an architecture is
tested once for all of them."""
for representative, others in SAME_LAYOUT.items():
    BUILDERS |= {name: BUILDERS[representative] for name in others if name not in BUILDERS}


def build(full_name: str, folder: Path, seed: int = 0) -> Path:
    """Write the repository `full_name` into `folder`, which is created if missing; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    BUILDERS[full_name](folder, seed)
    return folder
