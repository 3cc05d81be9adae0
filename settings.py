"""Every option of the service, declared once, read once from the environment.

The name of the environment variable is the field's name in capitals: `port` is `PORT`.
An empty variable means the default.
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
    """An environment variable is wrong; the message names it and what it takes."""


def _split(value: object) -> object:
    """'a, b' -> ('a', 'b'): lists arrive as comma-separated text."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _base_url(value: object) -> object:
    """'https://mirror/' -> 'https://mirror': paths are put behind it."""
    return value.strip().rstrip("/") if isinstance(value, str) else value


BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Task = Literal["embeddings", "rerank"]
Keys = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The service's options. Times in seconds, sizes in bytes unless the name says otherwise."""

    host: str = Field(
        "0.0.0.0",  # noqa: S104  # the specification's default: a container must be reachable
        description="Address to listen on; a host name is resolved at start.",
    )
    port: int = Field(7987, gt=0, lt=65536, description="Port to listen on.")
    workers: int = Field(1, gt=0, description="Worker processes; each loads its own copy of a model.")

    reranker_model_name: str = Field(
        "jinaai/jina-reranker-v2-base-multilingual", description="Model of a rerank request that names none."
    )
    embedding_model_name: str = Field("BAAI/bge-m3", description="Model of an embedding request that names none.")
    preload_models: Names = Field(
        (), description="Models loaded at start, comma-separated; /readyz answers 200 once they are."
    )
    extra_catalog: Path | None = Field(None, description="A further catalogue file, for models of your own.")

    reranker_models_dir: Path = Field(
        Path("/app/models"), description="Folder of downloaded checkpoints, one `<org>_<name>/` each."
    )
    import_on_demand: bool = Field(True, description="Import a model that is not in the store when first asked for.")
    hf_endpoint: BaseUrl = Field("https://huggingface.co", description="The Hub, or a mirror of it.")
    hf_hub_offline: bool = Field(
        False, description="Take models from the Hugging Face cache (HF_HOME) and never from the network."
    )
    max_imports: int = Field(2, gt=0, description="Imports that run at once, of all workers together; others wait.")
    hf_token: SecretStr | None = Field(None, description="Token for gated or private repositories.")

    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="auto: a GPU (CUDA or ROCm) where there is one. ROCm devices are called cuda, as in torch."
    )
    cuda_visible_devices: str | None = Field(None, description="GPUs that may be used, as CUDA reads it; -1: none.")
    backend: Literal["auto", "openvino", "torch"] = Field(
        "auto", description="Engine on a CPU: auto takes OpenVINO where the model converts. A GPU always runs torch."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: half precision where the hardware has it and the numbers stay right."
    )
    cpu_threads: int = Field(
        0, ge=0, description="Threads of one forward pass on a CPU. 0: the worker's share of cores."
    )

    memory_fraction: float = Field(
        0.9, gt=0, le=1, description="Share of the GPU's or the machine's memory that models may take."
    )

    idle_unload_s: float = Field(0.0, ge=0, description="Unload a model that nobody used for so long. 0: never.")

    api_keys: Keys = Field(
        (), description="Keys of which every request must show one (Authorization: Bearer, or x-api-key). None: open."
    )
    api_keys_file: Path | None = Field(
        None, description="File with further keys, one per line; ` #` starts a comment. It is read at start-up."
    )
    metrics_open: bool = Field(True, description="Whether /metrics needs no key.")
    cors_origins: Names = Field(
        (), description="Origins whose pages may call the service from a browser, as https://example.org; *: all."
    )

    cohere_api_key: SecretStr | None = Field(None, description="Key for the models that are forwarded to Cohere.")
    cohere_base_url: BaseUrl | None = Field(None, description="Cohere's API, or a private deployment of it.")

    max_inputs: int = Field(2048, gt=0, description="Texts in one embedding request.")
    max_documents: int = Field(1000, gt=0, description="Documents in one rerank request.")
    max_body_bytes: int = Field(64 * 2**20, gt=0, description="Size of a request body, also once it is decompressed.")
    max_held_body_bytes: int = Field(
        512 * 2**20,
        gt=0,
        description="Size of all request bodies that a worker is receiving or answering; a large one gets 429 beyond.",
    )
    max_head_bytes: int = Field(65_536, ge=1024, description="Size of a request's path and headers.")
    max_body_values: int = Field(
        4_000_000,
        gt=0,
        description="Numbers and texts in the JSON of one request body, those in unused fields included.",
    )
    max_body_fields: int = Field(
        250_000, gt=0, description="Lists, objects and their fields in the JSON of one request body."
    )
    max_text_bytes: int = Field(
        2**20,
        ge=1024,
        description="Bytes (UTF-8) of one text that are read; the rest is cut off with a warning. Requests for token "
        "counts refuse longer texts.",
    )
    max_tokenize_tokens: int = Field(
        200_000,
        gt=0,
        description="Tokens that one request may get back from /tokenize, and from /v1/tokenize with `text`.",
    )
    max_batch_tokens: int = Field(
        16_384, ge=16, description="Most padded tokens in one forward pass; how many pay is measured at load."
    )
    max_queued_tokens: int = Field(2_000_000, gt=0, description="Tokens waiting for one model before 429.")
    max_queued_characters: int = Field(
        2**27, gt=0, description="Characters waiting for one model's tokenizer before 429."
    )
    request_timeout_s: float = Field(300.0, gt=0, description="Deadline of a request, import and load included.")

    client_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Time for a request's head to arrive; a body, or the reading of an answer, may pause for as long.",
    )
    keep_alive_s: float = Field(
        75.0, gt=0, description="Time after which a connection without a request is closed; longer than clients' pools."
    )
    shutdown_grace_s: float = Field(
        25.0,
        gt=0,
        description="Time that running requests have after SIGTERM; then they get 503, and the process ends.",
    )
    serve_tasks: Annotated[tuple[Task, ...], BeforeValidator(_split), Field(min_length=1)] = Field(
        ("embeddings", "rerank"),
        description="What this process serves, so that the two can scale apart: embeddings, rerank, or both.",
    )

    playground: bool = Field(True, description="Whether /playground serves a page for trying the service out.")
    admin: bool = Field(False, description="Whether models may be loaded, unloaded and imported by request.")

    tracing: bool = Field(
        False,
        description="OpenTelemetry spans for every request and its stages, by OTLP over HTTP to where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says (http://localhost:4318).",
    )
    request_log: Literal["text", "json", "off"] = Field(
        "text",
        description="A line for every request but healthy probes and what the playground polls; "
        "never a text, a vector or a key.",
    )

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Every API key, from both settings; SettingsError where the file cannot be read or holds none."""
        keys = [key.get_secret_value() for key in self.api_keys]
        if self.api_keys_file is not None:
            keys += _read_keys(self.api_keys_file)
        if not all(key.isascii() for key in keys):
            raise SettingsError("API_KEYS: a key may hold ASCII characters only, as it travels in a header.")
        return tuple(dict.fromkeys(keys))

    @field_validator("hf_endpoint")
    @classmethod
    def _with_scheme(cls, endpoint: str) -> str:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
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
"""In a key file; a key may hold the sign itself."""


def _read_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"API_KEYS_FILE: {path} cannot be read ({type(error).__name__}).") from None
    keys = [key for line in lines if (key := _COMMENT.sub("", line).strip())]
    if not keys:
        raise SettingsError(f"API_KEYS_FILE: {path} holds no key. Write one a line, or leave the variable out.")
    return keys


def bentoml_home() -> Path:
    """BENTOML_HOME as BentoML reads it; BentoML's own function would make folders."""
    return Path(os.path.expandvars(os.environ.get("BENTOML_HOME", "~/bentoml"))).expanduser()


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
