"""The texts and request bodies: the same for every server and every run."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator

EMBEDDER = "all-minilm-l6-v2"
RERANKER = "bench-cross-encoder"
VARIANTS = tuple(f"bench-embedder-{number}" for number in range(1, 9))
M3, SPLADE, COLBERT = "bench-m3", "bench-splade", "bench-colbert"
"""In the layouts of bge-m3, of SPLADE models and of Stanford's ColBERT."""
DOCUMENT = "[unused1] "
"""The text that COLBERT reads before a document."""

MIN_WORDS, MEDIAN_WORDS, MAX_WORDS = 8, 45, 205  # about 10, 60 and 240 tokens: no text is truncated
SPREAD = 0.75  # sigma of the logarithm of the length


def _phrases(text: str) -> list[str]:
    return text.split("|")


SUBJECTS = _phrases(
    "the harbour authority|a retired engineer|the northern railway|our maintenance team|an early survey|a library|"
    "every visiting student|the city council|a small bakery|the research vessel|his younger sister|the insurer|"
    "a patient gardener|the water utility|one of the reviewers|the night shift|a local newspaper|the orchestra|"
    "an independent auditor|the mountain rescue service|the database administrator|a young physician|the export office|"
    "the wind farm"
)
VERBS = _phrases(
    "repaired|described|postponed|measured|replaced|questioned|announced|financed|rebuilt|compared|documented|"
    "underestimated|recommended|published|translated|optimised|abandoned|restored|examined|delivered|approved|"
    "simplified|inspected|cancelled"
)
OBJECTS = _phrases(
    "the old turbine|a detailed map of the coast|the annual budget|three hundred letters|the cooling system|"
    "a list of possible causes|the second bridge|its pension scheme|the irrigation canal|a series of lectures|"
    "the customs procedure|an unusual kind of moss|the search index|the western entrance|a collection of recipes|"
    "the backup schedule|the treatment of chronic pain|a contract with the supplier|the lighting of the hall|"
    "most of the early recordings|the timetable for winter|a method for sorting parcels|the storage of solar power|"
    "the rules of the competition"
)
TAILS = _phrases(
    "before the first snow|because the costs had doubled|during the summer of {year}|without asking for permission|"
    "in less than {number} days|although nobody had expected it|with the help of {number} volunteers|"
    "after a long and public debate|as the report from {year} had suggested|to the surprise of the neighbours|"
    "for customers in {number} countries|while prices continued to fall|at a height of {number} metres|"
    "since the law changed in {year}|and kept the results in a locked drawer|so that trains could run again"
)
LINKS = ("", "", "", "However, ", "In addition, ", "Later, ", "For this reason, ", "According to the minutes, ")
QUESTIONS = ("why was {object} {verb} {tail}", "who {verb} {object}", "how {subject} {verb} {object}")


def _filled(text: str, rng: random.Random) -> str:
    return text.format(
        year=rng.randint(1890, 2025),
        number=rng.randint(2, 900),
        subject=rng.choice(SUBJECTS),
        verb=rng.choice(VERBS),
        object=rng.choice(OBJECTS),
        tail=rng.choice(TAILS),
    )


def _sentence(rng: random.Random) -> str:
    words = f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)} {_filled(rng.choice(TAILS), rng)}."
    link = rng.choice(LINKS)
    return link + words if link else words[0].upper() + words[1:]


def _texts(rng: random.Random) -> Iterator[str]:
    """Distinct passages with lognormal lengths: many short, few long."""
    seen: set[str] = set()
    while True:
        length = round(math.exp(rng.gauss(math.log(MEDIAN_WORDS), SPREAD)))
        length = min(max(length, MIN_WORDS), MAX_WORDS)
        words: list[str] = []
        while len(words) < length:
            words += _sentence(rng).split()
        text = " ".join(words[:length])
        if text not in seen:
            seen.add(text)
            yield text


def passages(count: int, *, seed: int) -> list[str]:
    """Texts of 10 to 250 tokens, all different."""
    source = _texts(random.Random(seed))
    return [next(source) for _ in range(count)]


def short_texts(count: int, *, seed: int) -> list[str]:
    """Search queries of about a dozen tokens, all different."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[_filled(_filled(rng.choice(QUESTIONS), rng), rng)] = None
    return list(found)


def embeddings_body(texts: list[str], model: str = EMBEDDER) -> bytes:
    """A body of /v1/embeddings."""
    return json.dumps({"model": model, "input": texts}).encode()


def rerank_body(query: str, documents: list[str], model: str = RERANKER) -> bytes:
    """A body of /v1/rerank, whose response has index and score of all documents."""
    return json.dumps({"model": model, "query": query, "documents": documents, "return_documents": False}).encode()
