"""The tables' two languages. docs/ja.yaml has the Japanese descriptions, each beside the English it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

Text = Annotated[str, Field(min_length=1)]
Descriptions = Mapping[str, Mapping[str, str]]
"""Table -> setting or field -> what it means."""

JAPANESE_WORDS = {
    "Short name": "短縮名",
    "Full name": "正式名",
    "Languages": "言語",
    "Tokens": "トークン",
    "Dimensions": "次元",
    "Download": "ダウンロード",
    "Licence": "ライセンス",
    "Extras": "追加",
    "Made ready": "準備",
    "Checked": "確認",
    "Variable": "変数",
    "Default": "既定値",
    "Meaning": "説明",
    "Field": "フィールド",
    "Required": "指定",
    "yes": "必須",
    "no": "任意",
    "multilingual": "多言語",
    "(non-commercial)": "（商用不可）",
    "as published": "公開時のまま",
    "tensors renamed": "テンソル名を変更",
    "config translated": "設定を変換",
    "own module": "独自モジュール",
    "forwarded": "転送",
    "package {}": "パッケージ {}",
    "real weights": "実際の重み",
    "at import": "インポート時",
    " One of {}.": "{} のいずれか。",
    ", ": "、",
}
"""Heads, and the short words that cells are made of; `{}` is a place to fill in."""


class TranslationError(ValueError):
    """Something has no Japanese, or not the right one: a sentence a line, each of which names it."""


@dataclass(frozen=True)
class Language:
    """The words and descriptions of one language."""

    word: Callable[[str], str]
    """English word -> the page's."""
    describe: Callable[[str, str, str], str]
    """table, setting or field, its English description -> the page's description."""


ENGLISH = Language(word=lambda english: english, describe=lambda _table, _name, english: english)


class Translation(BaseModel, frozen=True, extra="forbid"):
    """One entry of docs/ja.yaml."""

    en: Text = Field(description="The description in the code when it was translated.")
    ja: Text = Field(description="The same in Japanese.")


def japanese(path: Path, described: Descriptions) -> Language:
    """Japanese from a translation file; TranslationError unless it has just what is described, as it is described."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        translations = TypeAdapter(dict[str, dict[str, Translation]]).validate_python(loaded)
    except (yaml.YAMLError, ValidationError) as error:
        raise TranslationError(f"docs/{path.name} cannot be read: {error}") from error
    problems = list(_problems(f"docs/{path.name}", translations, described))
    if problems:
        raise TranslationError("\n".join(problems))
    return Language(word=_japanese_word, describe=lambda table, name, _english: translations[table][name].ja)


def _problems(
    file: str, translations: Mapping[str, Mapping[str, Translation]], described: Descriptions
) -> Iterator[str]:
    for table in sorted(translations.keys() - described.keys()):
        yield f"{file}: no table is called {table!r}. Remove it."
    for table, english in described.items():
        entries = translations.get(table, {})
        for name in sorted(entries.keys() - english.keys()):
            yield f"{file}: {table}: {name} is no longer in the code. Remove it."
        for name, text in english.items():
            if name not in entries:
                yield f"{file}: {table}: {name} is missing. Add it, with en: {text}"
            elif entries[name].en != text:
                yield (
                    f"{file}: {table}: {name} was translated from other English. Check its ja, then change its en "
                    f"to: {text}"
                )


def _japanese_word(english: str) -> str:
    if english not in JAPANESE_WORDS:
        raise TranslationError(f"scripts/readme/language.py: JAPANESE_WORDS lacks {english!r}. Add it.")
    return JAPANESE_WORDS[english]
