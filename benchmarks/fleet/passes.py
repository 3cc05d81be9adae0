"""What passes cost: measured with a model on this machine, or computed for passes of known duration.

`python -m benchmarks.fleet.passes MODEL` loads a stored model as the service does, and prints its costs as JSON.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from pydantic import TypeAdapter

from benchmarks.fleet.constants import Passes
from runners.batching.costs import Costs, Trials, learn_budget, learn_costs, widest_budget
from runners.contracts import BatchShape, TokenSequence, TokenSequences


def learn(trials: Trials, padding_cost: float, most: int, *, fast_lane: bool) -> Passes:
    """Pass sizes and costs, as runners/loading.py finds them when a model is loaded."""
    short = learn_budget(trials, most)
    costs = learn_costs(trials, padding_cost)
    return Passes(
        costs=costs,
        max_batch_tokens=widest_budget(costs, short, most, concurrent_passes=1, has_fast_lane=fast_lane),
        short_pass_tokens=short,
        padding_cost=padding_cost,
        fast_lane=fast_lane,
    )


def learn_known(costs: Costs, padding_cost: float, most: int, *, fast_lane: bool) -> Passes:
    """The same for passes that take exactly `costs`."""
    now = 0.0

    def run(sequences: TokenSequences) -> None:
        nonlocal now
        now += costs.of(BatchShape.of(list(map(len, sequences))))

    trials = Trials(run, lambda length: TokenSequence([0] * length), lambda: now)
    return learn(trials, padding_cost, most, fast_lane=fast_lane)


def main() -> None:
    """Print the costs of a model."""
    from models.store import ModelStore, open_catalog
    from runners.devices import detect
    from runners.loading import load_backend, trials_of
    from settings import load_settings

    settings, store = load_settings(), ModelStore()
    spec = open_catalog(settings, store).get(sys.argv[1])
    stored = store.find(spec)
    assert stored is not None
    backend = load_backend(spec, stored, detect(settings), settings)
    try:
        fast_lane = backend.second_forward is not None
        trials = trials_of(backend, stored.facts)
        found = learn(trials, backend.padding_cost, settings.max_batch_tokens, fast_lane=fast_lane)
    finally:
        backend.close()
    print(TypeAdapter(Passes).dump_json(replace(found, backend=backend.name)).decode())


if __name__ == "__main__":
    main()
