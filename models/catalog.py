"""The catalogue: `ModelSpec`, validated from YAML, and lookup by the names that requests use."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from errors import ModelNotFoundError
from models.yaml_file import read_yaml

CATALOG_PATH = Path(__file__).with_name("catalog.yaml")

Pooling = Literal["cls", "mean", "last"]
Side = Literal["query", "document"]
Output = Literal["dense", "sparse", "multi_vector"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME_LENGTH = 80
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,60}/\w[\w.-]{0,58}(/\w[\w.-]{0,58})?")
"""The full name of a model: organization, repository and, for one of several adapters in a repository, its folder."""
Name = Annotated[str, Field(pattern=f"^{_NAME.pattern}$", max_length=_NAME_LENGTH)]
RepoName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/\w[\w.-]*(/\w[\w.-]*)?$", max_length=120)]
_HOW_TO_ADD = (
    "To add a repository of the Hugging Face Hub, run ./embeddings import with its full name, or set IMPORT_ALLOWED "
    "to let requests import it."
)


class CatalogError(ValueError):
    """The catalogue file is wrong; the message names the file, the block and the key."""


class Tokenizer(BaseModel, frozen=True, extra="forbid"):
    """Corrections to the repository's tokenizer files for this stack."""

    backend: Literal["auto", "bert-japanese", "xlm-roberta"] = Field(
        "auto", description="Tokenizer to build instead of the repository's class."
    )
    lower_case: bool = Field(False, description="Lower-case the text first (sentence-transformers' do_lower_case).")
    append_eos: Literal["closing", "text"] | None = Field(
        None,
        description="For tokenizer.json files that omit the end-of-text token. closing: it is added after truncation. "
        "text: it is part of the text, and truncation may remove it, as with authors who append it as characters.",
    )


class AnswerScoring(BaseModel, frozen=True, extra="forbid"):
    """A causal language model as reranker: the score comes from the logits of its answer to a prompt."""

    prefix: str = Field(description="Text before the body, special tokens written out.")
    body: str = Field(description="Text with {query} and {document}, and {instruction} before them if there is one.")
    instruction_prompt: str | None = Field(
        None,
        description="Text with {instruction} to put before the body if there is an instruction, for models whose "
        "prompt does without one.",
    )
    separator: str | None = Field(
        None,
        description="Part of the text between {query} and {document} that is tokenised alone, like the texts before "
        "and after it. None: the body is tokenised as one text.",
    )
    suffix: str = Field(description="Text after the body; never truncated.")
    yes: str = Field(description="The token whose logit counts for relevance.")
    no: str | None = Field(None, description="The token whose logit is subtracted. None: nothing is.")

    @property
    def takes_instruction(self) -> bool:
        """Whether a request may replace the instruction."""
        return "{instruction}" in (self.instruction_prompt or self.body)

    @model_validator(mode="after")
    def _consistent(self) -> AnswerScoring:
        places = [self.body.find(name) for name in ("{instruction}", "{query}", "{document}")]
        if min(places[1:]) < 0 or places != sorted(places):
            raise ValueError("body needs {query} and then {document}; {instruction} may precede them")
        if self.instruction_prompt is not None and (places[0] >= 0 or "{instruction}" not in self.instruction_prompt):
            raise ValueError("instruction_prompt needs {instruction}, and body must not have it")
        if self.separator is not None and self.separator not in self.body[places[1] : places[2]]:
            raise ValueError("separator is not between {query} and {document}")
        return self


class ModelSpec(BaseModel, frozen=True, extra="forbid"):
    """One block of the catalogue: all facts about a model that the service uses or shows."""

    name: Name = Field(description="Short name, as used in requests.")
    repo: RepoName = Field(
        description="Full name: the repository on the Hugging Face Hub, and the folder of a PEFT adapter in it, if any."
    )
    aliases: tuple[str, ...] = Field((), description="Other names of this model.")
    kind: Literal["embedding", "reranker"]
    outputs: tuple[Output, ...] = Field(
        (), description="What an embedding model returns for a text. Empty: read from the repository."
    )
    group: Literal["japanese", "multilingual", "english", "legacy", "custom"] = "custom"
    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes, or 'multilingual'.")
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="Pinned commit. None: the newest commit of main at import."
    )
    conversion: Literal["native", "jina_v2_flash", "gte", "jina_bert", "nv_embed", "nomic_bert", "cohere"] = Field(
        "native", description="How an import converts the checkpoint; native: no conversion."
    )
    package: str | None = Field(None, description="Installed Python package that contains the weights in `model/`.")
    max_tokens: int | None = Field(
        None, gt=8, description="Token limit, special tokens included. None: read from the repository."
    )
    dimensions: int | None = Field(None, gt=0, description="Width of the vector. None: read from the repository.")
    matryoshka: tuple[int, ...] = Field((), description="Smaller widths that the model was trained for.")
    pooling: Pooling | None = Field(None, description="Used only if the repository has no 1_Pooling/config.json.")
    normalized: bool = Field(
        False, description="The authors' own pipeline returns unit vectors (the service always does)."
    )
    prompts: dict[str, str] = Field(
        {}, description="Prompt name -> text put before the input. input_type selects 'query' or 'document'."
    )
    instruction: str | None = Field(
        None, description="Default for {instruction} in prompts and templates; a request may send its own."
    )
    scoring: AnswerScoring | None = Field(
        None, description="Only for rerankers that are causal language models. None: read from the repository."
    )
    tokenizer: Tokenizer = Tokenizer()
    requires: tuple[str, ...] = Field((), description="Python modules that the tokenizer needs.")
    license: str = Field("unknown", description="SPDX identifier, or the repository's wording.")
    commercial: bool | None = Field(None, description="Whether the licence allows commercial use. None: unknown.")
    parameters: int | None = Field(None, gt=0)
    download_bytes: int | None = Field(None, gt=0, description="Size of the files that an import downloads.")
    verified: bool = Field(False, description="Checked against real weights, not only against the architecture.")
    note: str = Field("", description="What users should know before choosing this model.")
    default_prompt: str | None = Field(None, description="Name of the prompt for requests that choose none.")
    from_repository: bool = Field(
        False, description="The block is not in a catalogue; an import reads it from the repository."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All names that requests may use."""
        return (self.name, self.repo, *self.aliases)

    @property
    def hub_repo(self) -> str:
        """The repository on the Hub."""
        return "/".join(self.repo.split("/")[:2])

    @property
    def adapter(self) -> str | None:
        """The folder of the adapter that is merged into the repository's weights."""
        return self.repo.removeprefix(self.hub_repo).removeprefix("/") or None

    @property
    def forwarded(self) -> bool:
        """Whether requests are forwarded to another provider's API, so that there is nothing to import."""
        return self.conversion == "cohere"

    @property
    def import_options(self) -> dict[str, str]:
        """The options that affect conversion, name -> JSON value; other options are read at each start."""
        fields = self.model_dump(mode="json", include={"kind", "conversion", "max_tokens", "pooling", "tokenizer"})
        options = {name: json.dumps(value, sort_keys=True) for name, value in fields.items()}
        if self.outputs and "dense" not in self.outputs:  # earlier imports of the others are complete
            options["outputs"] = json.dumps(self.outputs)
        return options | {"scoring": json.dumps(self.scoring is not None)}

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if self.kind == "reranker" and (self.pooling or self.matryoshka or self.dimensions):
            raise ValueError("a reranker has no pooling, dimensions or matryoshka")
        if self.kind == "reranker" and self.outputs:
            raise ValueError("a reranker has no outputs")
        if self.kind == "embedding" and self.scoring:
            raise ValueError("scoring is for rerankers")
        if self.scoring and self.instruction and not self.scoring.takes_instruction:
            raise ValueError("an instruction is given, but scoring has no {instruction}")
        for width in self.matryoshka:
            if self.dimensions is None or width >= self.dimensions:
                raise ValueError(f"matryoshka width {width} is not below dimensions {self.dimensions}")
        if self.default_prompt is not None and self.default_prompt not in self.prompts:
            raise ValueError(f"default_prompt {self.default_prompt!r} is not in prompts")
        for prompt_name, text in self.prompts.items():
            if "{instruction}" in text and self.instruction is None:
                raise ValueError(f"prompts.{prompt_name} uses {{instruction}}, but no instruction is given")
        return self


class Catalog:
    """All models, with case-insensitive lookup by short name, full name or alias.

    `stored` returns the blocks of models in the store that were imported by the name of their repository. Their short
    name is the last part of the full name, unless another model has it.
    """

    def __init__(self, specs: Sequence[ModelSpec], stored: Callable[[], Sequence[ModelSpec]] = tuple) -> None:
        self._specs = tuple(specs)
        self._listed: dict[str, ModelSpec] = {}
        for spec in specs:
            _add(self._listed, spec)
        self._stored = stored
        self._found: tuple[ModelSpec, ...] = ()
        self._by_name = self._listed

    def _refresh(self) -> None:
        """Read the blocks of stored models again. Other threads may read the names meanwhile."""
        found = tuple(spec for spec in self._stored() if spec.repo.lower() not in self._listed)
        if found == self._found:
            return
        by_name = dict(self._listed)
        for spec in found:
            _add(by_name, spec.model_copy(update={"name": _free_name(by_name, spec.repo)}))
        self._by_name, self._found = by_name, found

    def __iter__(self) -> Iterator[ModelSpec]:
        self._refresh()
        by_name = self._by_name
        return iter(
            (*self._specs, *(spec for name, spec in by_name.items() if name not in self._listed and "/" in name))
        )

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def with_aliases(self, aliases: Iterable[tuple[str, str]]) -> Catalog:
        """The same models with more names, given as (alias, name of the model). CatalogError names a wrong pair."""
        specs = {spec.name: spec for spec in self._specs}
        for alias, name in aliases:
            if alias in self:
                raise CatalogError(f"MODEL_ALIASES: {alias}={name}: {alias!r} is the name of a model.")
            if name not in self:
                raise CatalogError(f"MODEL_ALIASES: {alias}={name}: there is no model {name!r}.")
            found = self.get(name)
            spec = specs.get(found.name, found)
            specs[spec.name] = spec.model_copy(update={"aliases": (*spec.aliases, alias)})
        return Catalog(list(specs.values()), self._stored)

    def names_with(self, output: Output) -> list[str]:
        """Short names of the models that return an output, in the order of the catalogue."""
        return [spec.name for spec in self if output in spec.outputs]

    def resolve(self, name: str) -> tuple[ModelSpec, Side | None]:
        """The model that a request names, and the side of a search if the name has the suffix :query or :document."""
        base, side = split_side(name)
        if side is not None and name.strip().lower() not in self._by_name:  # names of stored models have no colon
            return self.get(base), side
        return self.get(name), None

    def get_or_unlisted(self, name: str) -> ModelSpec:
        """The model with that name; for the full name of another repository, a block that an import completes."""
        spec = self._find(name)
        repo = name.strip()
        if spec is None and REPOSITORY.fullmatch(repo):
            return ModelSpec(name=_free_name(self._by_name, repo), repo=repo, kind="embedding", from_repository=True)
        return spec or self.get(name)

    def _find(self, name: str) -> ModelSpec | None:
        key = name.strip().lower()
        if key not in self._by_name:
            self._refresh()
        return self._by_name.get(key)

    def get(self, name: str) -> ModelSpec:
        """The model with that name, without a suffix; ModelNotFoundError suggests similar names."""
        spec = self._find(name)
        if spec is None:
            close = difflib.get_close_matches(name.lower()[:200], self._by_name, n=5, cutoff=0.5)
            similar = list(dict.fromkeys(self._by_name[candidate].name for candidate in close))
            hint = f" Did you mean {', '.join(similar)}?" if similar else ""
            advice = f" {_HOW_TO_ADD}" if "/" in name else ""
            raise ModelNotFoundError(
                f"There is no model of that name.{hint} GET /models or ./embeddings list shows every model.{advice}",
                param="model",
            )
        return spec


def _add(by_name: dict[str, ModelSpec], spec: ModelSpec) -> None:
    for name in {name.lower() for name in spec.names}:
        if name in by_name:
            raise CatalogError(f"two models have the name {name!r}: {by_name[name].repo} and {spec.repo}")
        by_name[name] = spec


def _free_name(by_name: Mapping[str, ModelSpec], repo: str) -> str:
    """A full name without its organization; the whole one if another model has that name."""
    short = repo.partition("/")[2].replace("/", "--")
    if short.lower() in by_name or not _NAME.fullmatch(short):
        short = repo.replace("/", "--")
    return short[:_NAME_LENGTH]


def split_side(name: str) -> tuple[str, Side | None]:
    """A model's name without the suffix :query or :document, and the side of a search that the suffix names."""
    base, _, suffix = name.strip().rpartition(":")
    if base and suffix.lower() == "query":
        return base, "query"
    if base and suffix.lower() == "document":
        return base, "document"
    return name, None


def load_catalog(*extra: Path | None, stored: Callable[[], Sequence[ModelSpec]] = tuple) -> Catalog:
    """Load the built-in catalogue and any extra files; a later block replaces an earlier one of the same name.

    `stored` returns the blocks of other models in the store.
    """
    specs: dict[str, ModelSpec] = {}
    for path in filter(None, (CATALOG_PATH, *extra)):
        for spec in _read(path):
            specs[spec.name.lower()] = spec
    return Catalog(list(specs.values()), stored)


def _read(path: Path) -> list[ModelSpec]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict) or set(content) != {"models"} or not isinstance(content["models"], list):
        raise CatalogError(f"{path}: expected one top-level key, 'models', with a list of blocks.")
    specs = [_spec(path, number, block) for number, block in enumerate(content["models"], start=1)]
    for name, count in Counter(spec.name.lower() for spec in specs).items():
        if count > 1:
            raise CatalogError(f"{path}: {count} blocks are named {name!r}.")
    return specs


def _spec(path: Path, number: int, block: object) -> ModelSpec:
    title = block.get("name", "without a name") if isinstance(block, dict) else "not a mapping"
    try:
        return ModelSpec.model_validate(block)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "block"
        raise CatalogError(f"{path}: block {number} ({title}), key {key!r}: {first['msg']}.") from None
