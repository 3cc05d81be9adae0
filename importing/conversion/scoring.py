"""How a causal language model scores pairs, read from its repository as sentence-transformers' CrossEncoder reads it.

modules.json names a LogitScore module with the ids of one or two answer tokens; without modules.json, they are "yes"
and "no". The chat template has a message of the role `query` and one of the role `document`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from importing.conversion.checkpoint import read_json
from models.catalog import AnswerScoring

QUERY, DOCUMENT = " \ue001 ", " \ue002 "
"""Stand for the texts. The blanks show whether the template changes the texts."""
_NOT_FOR_RENDERING = ("restore_suffix", "padding", "truncation", "max_length", "return_tensors", "tokenize")


def read_scoring(source: Path, config: dict[str, object]) -> AnswerScoring | None:
    """The scoring of a folder; None if it is not a causal language model, or its template has other roles.

    The prompt is divided at special tokens, so that its parts have the tokens of the whole.
    """
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not str(architectures[:1]).endswith("ForCausalLM']"):
        return None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    answers = _answers(source, tokenizer)
    text = _render(source, tokenizer) if answers else None
    if answers is None or text is None:
        return None
    before, _, rest = text.partition(QUERY)
    between, _, after = rest.partition(DOCUMENT)
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    start = max((before.rfind(token) + len(token) for token in special if token in before), default=0)
    end = min((after.find(token) for token in special if token in after), default=len(after))
    body = f"{before[start:]}{{query}}{between}{{document}}{after[:end]}"
    return AnswerScoring(prefix=before[:start], body=body, suffix=after[end:], yes=answers[0], no=answers[1])


def _answers(source: Path, tokenizer: Any) -> tuple[str, str | None] | None:
    """The answer tokens for and against relevance."""
    path = source / "modules.json"
    if not path.is_file():
        return ("yes", "no")
    scores = [module for module in json.loads(path.read_text("utf-8")) if str(module["type"]).endswith(".LogitScore")]
    if len(scores) != 1:
        return None
    config = read_json(source / str(scores[0]["path"]) / "config.json")
    true_id, false_id = config["true_token_id"], config.get("false_token_id")
    return tokenizer.convert_ids_to_tokens(true_id), (
        None if false_id is None else tokenizer.convert_ids_to_tokens(false_id)
    )


def _render(source: Path, tokenizer: Any) -> str | None:
    """The chat template with QUERY and DOCUMENT; None if either is not in it exactly once, or they are swapped."""
    about = read_json(source / "config_sentence_transformers.json")
    prompts, name = about.get("prompts"), about.get("default_prompt_name")
    prompt = prompts.get(name) if isinstance(prompts, dict) else None
    messages = [{"role": "system", "content": prompt}] if prompt else []
    messages += [{"role": "query", "content": QUERY}, {"role": "document", "content": DOCUMENT}]
    processing = read_json(source / "sentence_bert_config.json").get("processing_kwargs")
    options = processing.get("chat_template", {}) if isinstance(processing, dict) else {}
    options = {key: value for key, value in options.items() if key not in _NOT_FOR_RENDERING}
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except Exception:  # a template may raise anything for roles that it does not have
        return None
    found = text.count(QUERY) == text.count(DOCUMENT) == 1 and text.find(QUERY) < text.find(DOCUMENT)
    return text if found and "{" not in text.replace(QUERY, "").replace(DOCUMENT, "") else None
