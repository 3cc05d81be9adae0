"""jina-reranker-v1: JinaBERT. Its model_type is `bert`; loaded as BERT, its missing tensors would be random.

The weights do not change; config.json names our own module (runners/networks/jina_bert.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from importing.conversion.checkpoint import link_weights, read_json, require_supported, write_json
from importing.conversion.native import REMOTE_CODE_KEYS
from models.catalog import ModelSpec

ARCHITECTURE = "JinaBertForSequenceClassification"


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights and write a config.json whose model_type transformers does not have."""
    config = cast(dict[str, Any], read_json(source / "config.json"))
    supported = {
        "position_embedding_type": config.get("position_embedding_type") == "alibi",
        "feed_forward_type": config.get("feed_forward_type") == "geglu",
        "hidden_act": config.get("hidden_act") == "gelu",
    }
    require_supported(supported, spec)
    kept = {key: value for key, value in config.items() if key not in REMOTE_CODE_KEYS}
    write_json(target / "config.json", kept | {"model_type": "jina_bert", "architectures": [ARCHITECTURE]})
    link_weights(source, target)
