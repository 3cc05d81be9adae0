"""All settings of the service, declared once and read once from the environment.

The environment variable of a field has its name in capitals: `port` is `PORT`. An empty variable means the default.
`python -m scripts.generate` writes the documentation, the compose variables and the ConfigMap from this file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator


class SettingsError(ValueError):
    """An environment variable has an invalid value; the message names the variable."""


def _split(value: object) -> object:
    """'a, b' -> ('a', 'b')."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _base_url(value: object) -> object:
    """'https://mirror/' -> 'https://mirror': paths are appended to it."""
    return value.strip().rstrip("/") if isinstance(value, str) else value


BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Task = Literal["embeddings", "rerank"]
Keys = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]


def _pairs(value: object) -> object:
    """'a=b, c=d' -> (('a', 'b'), ('c', 'd'))."""
    if not isinstance(value, str):
        return value
    pairs = [tuple(part.strip() for part in pair.split("=")) for pair in value.split(",") if pair.strip()]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError("must be pairs such as text-embedding-3-small=bge-m3, separated by commas")
    return tuple(pairs)


Aliases = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs)]


GROUPS = {
    "host": "Server",
    "reranker_model_name": "Models",
    "reranker_models_dir": "Imports",
    "device": "Hardware and memory",
    "api_keys": "Access",
    "cohere_api_key": "Cohere",
    "max_inputs": "Request limits",
    "max_batch_tokens": "Batches and queues",
    "batch_dir": "Batch API",
    "request_timeout_s": "Time limits",
    "tracing": "Logs and traces",
}
"""First setting of each group -> name of the group. The documentation has the order of the fields below."""


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The service's settings. Times are in seconds, sizes in bytes, unless the name says otherwise."""

    host: str = Field(
        "0.0.0.0",  # noqa: S104  # a container must be reachable
        description="Address to listen on. A host name is resolved at start-up.",
    )
    port: int = Field(7987, gt=0, lt=65536, description="Port to listen on.")
    workers: int = Field(
        1,
        gt=0,
        description="Number of HTTP processes. With more than one, the models are in a process of their own, once for "
        "all of them.",
    )
    serve_tasks: Annotated[tuple[Task, ...], BeforeValidator(_split), Field(min_length=1)] = Field(
        ("embeddings", "rerank"),
        description="Tasks that this process serves: embeddings, rerank or both. Processes with one task each can be "
        "scaled separately.",
    )

    reranker_model_name: str = Field(
        "jinaai/jina-reranker-v2-base-multilingual", description="Default model for rerank requests."
    )
    embedding_model_name: str = Field("BAAI/bge-m3", description="Default model for embedding requests.")
    preload_models: Names = Field(
        (), description="Models to load at start-up. /readyz returns 200 once all of them are loaded."
    )
    extra_catalog: Path | None = Field(None, description="Path of an additional catalogue file with your own models.")
    model_aliases: Aliases = Field(
        (),
        description="Additional names of models, for clients with a fixed model name: "
        "`text-embedding-3-small=bge-m3,rerank-v3.5=bge-reranker-v2-m3`.",
    )

    reranker_models_dir: Path = Field(
        Path("/app/models"), description="Folder of downloaded checkpoints, with a subfolder `<org>_<name>/` for each."
    )
    import_on_demand: bool = Field(True, description="Import a model on first use if it is not in the model store.")
    import_allowed: Names = Field(
        (),
        description="Repositories of the Hub that requests may import although no catalogue lists them: patterns of "
        "full names, such as `BAAI/*, intfloat/*`.",
    )
    hf_endpoint: BaseUrl = Field("https://huggingface.co", description="URL of the Hugging Face Hub or of a mirror.")
    hf_hub_offline: bool = Field(
        False, description="Take models only from the Hugging Face cache (HF_HOME), never from the network."
    )
    max_imports: int = Field(
        2, gt=0, description="Maximum number of imports at a time, across all workers. Further imports wait."
    )
    hf_token: SecretStr | None = Field(None, description="Access token for gated or private repositories.")

    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="auto selects a GPU (CUDA or ROCm) if there is one. ROCm devices are called cuda, as in PyTorch.",
    )
    cuda_visible_devices: str | None = Field(
        None, description="GPUs that the service may use, in CUDA's format. -1 disables all GPUs."
    )
    backend: Literal["auto", "openvino", "torch"] = Field(
        "auto",
        description="Engine on a CPU. auto selects OpenVINO if the model can be converted, otherwise PyTorch. "
        "GPUs always use PyTorch.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        "auto",
        description="auto selects half precision if the hardware supports it and accuracy allows it. "
        "int8 is for CPUs with VNNI and without bfloat16, and reduces accuracy (docs/int8.md).",
    )
    cpu_threads: int = Field(0, ge=0, description="Threads of one forward pass on a CPU. 0 uses all cores.")
    memory_fraction: float = Field(
        0.9, gt=0, le=1, description="Share of the memory of the GPU, or of the machine, that models may use."
    )
    idle_unload_s: float = Field(
        0.0, ge=0, description="Unload a model that has been idle this long. 0 keeps idle models loaded."
    )

    api_keys: Keys = Field(
        (),
        description="API keys; each request must present one of them (Authorization: Bearer, x-api-key or api-key). "
        "Without keys, the service is open. A key may have a name, for logs and metrics: `name:key`.",
    )
    api_keys_file: Path | None = Field(
        None, description="File with additional keys, one per line. ` #` starts a comment. Read at start-up."
    )
    key_tokens_per_minute: int = Field(
        0,
        ge=0,
        description="Maximum number of tokens per minute for each API key, counted in each worker process. Requests "
        "beyond it are rejected with 429. 0: no limit.",
    )
    metrics_open: bool = Field(True, description="Serve /metrics without a key.")
    cors_origins: Names = Field(
        (),
        description="Origins whose pages may call the service from a browser, such as https://example.org. `*` allows "
        "all origins.",
    )
    playground: bool = Field(True, description="Serve a page for trying the service at /playground.")
    admin: bool = Field(False, description="Allow requests to load, unload and import models.")

    cohere_api_key: SecretStr | None = Field(None, description="API key for models that are forwarded to Cohere.")
    cohere_base_url: BaseUrl | None = Field(None, description="URL of Cohere's API or of a private deployment of it.")

    max_inputs: int = Field(2048, gt=0, description="Maximum number of texts in an embedding request.")
    max_documents: int = Field(1000, gt=0, description="Maximum number of documents in a rerank request.")
    max_body_bytes: int = Field(
        64 * 2**20, gt=0, description="Maximum size of a request body, before and after decompression."
    )
    max_held_body_bytes: int = Field(
        512 * 2**20,
        gt=0,
        description="Maximum total size of the request bodies that a worker is receiving or processing. Large bodies "
        "beyond it are rejected with 429.",
    )
    max_head_bytes: int = Field(65_536, ge=1024, description="Maximum size of a request's path and headers.")
    max_body_values: int = Field(
        4_000_000,
        gt=0,
        description="Maximum number of numbers and strings in the JSON of a request body, unused fields included.",
    )
    max_body_fields: int = Field(
        250_000,
        gt=0,
        description="Maximum number of lists, objects and object fields in the JSON of a request body.",
    )
    max_text_bytes: int = Field(
        2**20,
        ge=1024,
        description="Maximum number of bytes (UTF-8) read from one text. The rest is cut off, with a warning. "
        "Requests that count tokens reject longer texts.",
    )
    max_output_numbers: int = Field(
        2**25,
        gt=0,
        description="Maximum number of numbers in a response with a vector for each token, or with sparse vectors. "
        "Requests for more are rejected with 413.",
    )
    max_tokenize_tokens: int = Field(
        200_000,
        gt=0,
        description="Maximum number of tokens in a response of /tokenize, or of /v1/tokenize with `text`.",
    )

    max_batch_tokens: int = Field(
        16_384,
        ge=16,
        description="Maximum number of tokens in one forward pass, padding included. The size actually used is tuned "
        "when a model is loaded.",
    )
    max_queued_tokens: int = Field(
        2_000_000,
        gt=0,
        description="Maximum number of tokens waiting for one model. Further requests are rejected with 429.",
    )
    max_queued_characters: int = Field(
        2**27,
        gt=0,
        description="Maximum number of characters waiting for one model's tokenizer. Further requests are rejected "
        "with 429.",
    )

    batch_dir: Path | None = Field(
        None,
        description="Folder for the files of the batch API, which is off without it (docs/batches.md). Processes that "
        "share the folder share its batches.",
    )
    batch_max_file_bytes: int = Field(200 * 10**6, gt=0, description="Maximum size of an uploaded file.")
    batch_max_lines: int = Field(50_000, gt=0, description="Maximum number of requests in a batch.")
    batch_max_age_s: float = Field(
        30 * 86_400, gt=0, description="Time after which files, and batches that have ended, are deleted."
    )

    request_timeout_s: float = Field(
        300.0, gt=0, description="Time limit of a request, including the import and loading of its model."
    )
    client_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Time limit for receiving a request's head, and for each pause while its body is received or the "
        "response is sent.",
    )
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        description="Time after which an idle connection is closed. Should exceed the idle time of clients' connection "
        "pools.",
    )
    shutdown_grace_s: float = Field(
        25.0,
        gt=0,
        description="Time for running requests to finish after SIGTERM. Then the others get 503 and the process exits.",
    )

    tracing: bool = Field(
        False,
        description="Send OpenTelemetry spans of each request and its stages to OTEL_EXPORTER_OTLP_ENDPOINT (OTLP over "
        "HTTP; default: http://localhost:4318).",
    )
    request_log: Literal["text", "json", "off"] = Field(
        "text",
        description="Format of the request log: one line per request, without texts, vectors or keys. Successful "
        "probes and the playground's polling are not logged.",
    )

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """All API keys, of both settings. SettingsError if the file cannot be read or contains none."""
        keys = [key.get_secret_value() for key in self.api_keys]
        if self.api_keys_file is not None:
            keys += _read_keys(self.api_keys_file)
        if not all(key.isascii() for key in keys):
            raise SettingsError("API_KEYS: keys must be ASCII, because they are sent in a header.")
        return tuple(dict.fromkeys(keys))

    @field_validator("hf_endpoint")
    @classmethod
    def _with_scheme(cls, endpoint: str) -> str:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return endpoint

    @field_validator("host")
    @classmethod
    def _ip_address(cls, host: str) -> str:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            try:
                return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
            except OSError:
                raise ValueError("is neither an IP address nor a name that resolves to one") from None


_COMMENT = re.compile(r"(^|\s)#.*")
"""A comment in a key file. A `#` within a key does not start a comment."""


def _read_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"API_KEYS_FILE: {path} cannot be read ({type(error).__name__}).") from None
    keys = [key for line in lines if (key := _COMMENT.sub("", line).strip())]
    if not keys:
        raise SettingsError(f"API_KEYS_FILE: {path} contains no keys. Add one per line, or unset API_KEYS_FILE.")
    return keys


def bentoml_home() -> Path:
    """BENTOML_HOME as BentoML reads it. BentoML's own function would create folders."""
    return Path(os.path.expandvars(os.environ.get("BENTOML_HOME", "~/bentoml"))).expanduser()


def set_environment(variables: Mapping[str, str]) -> None:
    """Set environment variables of this process and of the programs that it runs."""
    os.environ.update(variables)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; SettingsError names the variable that is wrong."""
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {
        name: environ[name.upper()] for name in Settings.model_fields if environ.get(name.upper(), "").strip()
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{str(first['loc'][0]).upper()}: {first['msg'].removeprefix('Value error, ')}.") from None
