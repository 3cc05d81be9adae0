"""jina-reranker-v1: JinaBERT, which calls itself `bert` and would load as one, with noise for what is missing.

The weights stay as they are; config.json names our own module (runners/networks/jina_bert.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights, read_json, write_json
from importing.conversion.native import REMOTE_CODE_KEYS
from models.catalog import ModelSpec

ARCHITECTURE = "JinaBertForSequenceClassification"


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights and write a config.json that no class of transformers answers to."""
    config = cast(dict[str, Any], read_json(source / "config.json"))
    supported = {
        "position_embedding_type": config.get("position_embedding_type") == "alibi",
        "feed_forward_type": config.get("feed_forward_type") == "geglu",
        "hidden_act": config.get("hidden_act") == "gelu",
    }
    wrong = [key for key, fine in supported.items() if not fine]
    if wrong:
        raise ModelUnavailableError(f"{spec.repo}: {', '.join(wrong)} in config.json has a value that is not served.")
    kept = {key: value for key, value in config.items() if key not in REMOTE_CODE_KEYS}
    write_json(target / "config.json", kept | {"model_type": "jina_bert", "architectures": [ARCHITECTURE]})
    link_weights(source, target)
