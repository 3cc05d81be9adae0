"""The settings as environment variables of a container: in docker/service.yml and in the Kubernetes ConfigMap."""

from __future__ import annotations

import yaml

from scripts.generate.tables import as_variable
from settings import Settings

_FIXED_BY_COMPOSE = {"host", "port", "reranker_models_dir"}
_FIXED_BY_KUBERNETES = {"host", "port"}


def compose_variables(_text: str) -> str:
    """Variables without a value, which compose takes from the shell or from `.env`."""
    return "".join(f"      {name.upper()}:\n" for name in Settings.model_fields if name not in _FIXED_BY_COMPOSE)


def kubernetes_variables(text: str) -> str:
    """Comments with the Secret's keys and the defaults of all settings that the ConfigMap `text` does not set."""
    secrets = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    given = {name.lower() for name in yaml.safe_load(text)["data"]}
    lines = [f"Keys of the Secret: {', '.join(name.upper() for name in Settings.model_fields if name in secrets)}"]
    lines += [
        f'{name.upper()}: "{as_variable(field.default)}"'
        for name, field in Settings.model_fields.items()
        if name not in secrets | given | _FIXED_BY_KUBERNETES
    ]
    return "".join(f"  # {line}\n" for line in lines)
