"""Each setting: `load_settings` returns the value of its environment variable."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from settings import Settings, SettingsError, load_settings

GIVEN: dict[str, tuple[str, object]] = {
    "host": ("127.0.0.2", "127.0.0.2"),
    "port": ("8080", 8080),
    "workers": ("3", 3),
    "reranker_model_name": ("bge-reranker-base", "bge-reranker-base"),
    "embedding_model_name": ("e5-base", "e5-base"),
    "preload_models": (" e5-base, bge-m3 ,", ("e5-base", "bge-m3")),
    "extra_catalog": ("/etc/mine.yaml", Path("/etc/mine.yaml")),
    "model_aliases": ("ada = bge-m3, b=BAAI/e5 ,", (("ada", "bge-m3"), ("b", "BAAI/e5"))),
    "reranker_models_dir": ("/data", Path("/data")),
    "import_on_demand": ("false", False),
    "import_allowed": ("BAAI/*, intfloat/*", ("BAAI/*", "intfloat/*")),
    "hf_endpoint": ("https://hf-mirror.com//", "https://hf-mirror.com"),
    "hf_hub_offline": ("1", True),
    "max_imports": ("1", 1),
    "hf_token": ("hf_x", SecretStr("hf_x")),
    "device": ("cpu", "cpu"),
    "cuda_visible_devices": ("0,1", "0,1"),
    "backend": ("torch", "torch"),
    "dtype": ("bfloat16", "bfloat16"),
    "cpu_threads": ("6", 6),
    "memory_fraction": ("0.5", 0.5),
    "idle_unload_s": ("600", 600.0),
    "api_keys": ("key-a, key-b", (SecretStr("key-a"), SecretStr("key-b"))),
    "api_keys_file": ("/run/secrets/keys", Path("/run/secrets/keys")),
    "key_tokens_per_minute": ("60000", 60_000),
    "metrics_open": ("false", False),
    "cors_origins": ("https://a.example, *", ("https://a.example", "*")),
    "cohere_api_key": ("co_x", SecretStr("co_x")),
    "cohere_base_url": ("https://cohere.example.com/v2//", "https://cohere.example.com/v2"),
    "max_inputs": ("10", 10),
    "max_documents": ("20", 20),
    "max_body_bytes": ("1000", 1000),
    "max_held_body_bytes": ("5000", 5000),
    "max_head_bytes": ("2000", 2000),
    "max_body_values": ("300", 300),
    "max_body_fields": ("200", 200),
    "max_text_bytes": ("2048", 2048),
    "max_output_numbers": ("80", 80),
    "max_tokenize_tokens": ("70", 70),
    "max_batch_tokens": ("512", 512),
    "max_queued_tokens": ("9000", 9000),
    "max_queued_characters": ("8000", 8000),
    "batch_dir": ("/data/batches", Path("/data/batches")),
    "batch_max_file_bytes": ("1000", 1000),
    "batch_max_lines": ("100", 100),
    "batch_max_age_s": ("3600", 3600.0),
    "request_timeout_s": ("2.5", 2.5),
    "client_timeout_s": ("7.5", 7.5),
    "keep_alive_s": ("90", 90.0),
    "shutdown_grace_s": ("5", 5.0),
    "serve_tasks": ("rerank", ("rerank",)),
    "playground": ("false", False),
    "admin": ("true", True),
    "tracing": ("true", True),
    "request_log": ("json", "json"),
}

WRONG = {
    "host": ["no such host.invalid"],
    "port": ["0", "65536", "http", "7987.5"],
    "workers": ["0", "-1", "two"],
    "model_aliases": ["ada", "ada=", "=bge-m3", "ada=bge-m3=e5-base", "ada=bge-m3,b"],
    "import_on_demand": ["maybe"],
    "hf_endpoint": ["huggingface.co", "ftp://mirror"],
    "hf_hub_offline": ["2"],
    "max_imports": ["0", "two"],
    "device": ["gpu", "CUDA:0"],
    "backend": ["onnx"],
    "dtype": ["int4"],
    "cpu_threads": ["-1"],
    "memory_fraction": ["0", "1.1"],
    "idle_unload_s": ["-1"],
    "key_tokens_per_minute": ["-1", "many"],
    "metrics_open": ["perhaps"],
    "max_body_bytes": ["0", "64MB"],
    "max_head_bytes": ["1023"],
    "max_text_bytes": ["1023", "1MB"],
    "max_batch_tokens": ["15"],
    "request_timeout_s": ["0", "soon"],
    "serve_tasks": ["embed", "rerank,chat", ","],
    "tracing": ["2"],
    "request_log": ["xml", "1"],
    **{
        name: ["0"]
        for name in (
            *("max_inputs", "max_documents", "max_held_body_bytes", "max_body_values", "max_body_fields"),
            *("max_output_numbers", "max_tokenize_tokens", "max_queued_tokens", "max_queued_characters"),
            *("batch_max_file_bytes", "batch_max_lines", "batch_max_age_s"),
            *("client_timeout_s", "keep_alive_s", "shutdown_grace_s"),
        )
    },
}


def test_every_setting_is_described_and_tested() -> None:
    assert set(GIVEN) == set(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("name", GIVEN)
def test_a_variable_changes_its_setting_and_nothing_else(name: str) -> None:
    text, value = GIVEN[name]
    changed = load_settings({name.upper(): text})
    default = load_settings({})
    assert getattr(changed, name) == value != getattr(default, name)
    assert changed == default.model_copy(update={name: value})


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("empty", ["", "  "])
def test_empty_means_the_default(name: str, empty: str) -> None:
    assert load_settings({name.upper(): empty}) == load_settings({})


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_names_the_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name.upper()}: .+\.$"):
        load_settings({name.upper(): text})


def test_defaults_of_the_specification() -> None:
    default = load_settings({})
    assert (default.host, default.port, default.workers) == ("0.0.0.0", 7987, 1)
    assert default.reranker_model_name == "jinaai/jina-reranker-v2-base-multilingual"
    assert default.embedding_model_name == "BAAI/bge-m3"
    assert default.reranker_models_dir == Path("/app/models")
    assert (default.max_inputs, default.max_documents) == (2048, 1000)


def test_a_host_name_becomes_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        assert host == "my-host"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert load_settings({"HOST": "my-host"}).host == "10.1.2.3"
    assert load_settings({"HOST": "::1"}).host == "::1"


def test_other_variables_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "port": "1"}) == load_settings({})


def test_the_default_is_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "4321")
    assert load_settings().port == 4321


def test_settings_are_frozen_and_reject_unknown_names() -> None:
    default = load_settings({})
    with pytest.raises(ValidationError, match="frozen"):
        default.port = 1  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError, match="extra"):
        Settings.model_validate({"prot": 1})


def keys_of(path: Path, content: str) -> tuple[str, ...]:
    """All keys where API_KEYS_FILE has this content."""
    path.write_text(content, encoding="utf-8")
    return load_settings({"API_KEYS_FILE": str(path)}).keys


def test_without_either_setting_there_are_no_keys() -> None:
    assert load_settings({}).keys == ()
    assert load_settings({"API_KEYS": " , ,"}).keys == ()


def test_a_key_file_has_one_key_per_line_and_comments(tmp_path: Path) -> None:
    content = "\ufeff# our clients\nkey-a  # alice\n\n  key b\t\n#key-c\nkey#d\t# bob\nkey-e#\r\nkey-a\n"
    assert keys_of(tmp_path / "keys", content) == ("key-a", "key b", "key#d", "key-e#")


@pytest.mark.parametrize("content", ["", "\n \n", "# only a comment\n"])
def test_a_key_file_without_keys_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match=r"^API_KEYS_FILE: .+ contains no keys\. .+\.$"):
        keys_of(tmp_path / "keys", content)


def test_an_unreadable_key_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SettingsError, match=r"^API_KEYS_FILE: .+ cannot be read \(\w+\)\.$"):
            _ = load_settings({"API_KEYS_FILE": str(path)}).keys
    (tmp_path / "latin").write_bytes(b"key-\xe9\n")
    with pytest.raises(SettingsError, match=r"cannot be read \(UnicodeDecodeError\)"):
        _ = load_settings({"API_KEYS_FILE": str(tmp_path / "latin")}).keys


def test_keys_of_both_settings_are_accepted_and_none_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("secret-b\nsecret-c\n", encoding="utf-8")
    given = {"API_KEYS": "secret-a,secret-b", "HF_TOKEN": "secret-h", "COHERE_API_KEY": "secret-o"}
    settings = load_settings(given | {"API_KEYS_FILE": str(path)})
    assert settings.keys == ("secret-a", "secret-b", "secret-c")
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "secret-" not in shown


def test_a_key_that_is_not_ascii_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"^API_KEYS: .* ASCII"):
        _ = load_settings({"API_KEYS": "schlüssel"}).keys
