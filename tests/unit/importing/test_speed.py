"""How candidates are timed; test_openvino.py measures a model."""

from __future__ import annotations

from collections import Counter
from functools import partial

from importing.speed import ROUNDS, best_times
from runners.backends.speed import BackendConfig
from tests.unit.fakes import Clock

STEADY, CLOSE, BEATEN = (BackendConfig("openvino", precision) for precision in ("bf16", "f16", "f32"))
SLOW = BackendConfig("torch", "f32")


def test_the_fastest_round_counts_and_slow_candidates_get_two() -> None:
    clock, rounds = Clock(), Counter[BackendConfig]()
    seconds = {  # the first round does not count
        STEADY: [9.0, 0.5, 0.2, 0.7, 0.3, 0.4, 0.6, 0.8],
        CLOSE: [9.0, 0.28, 0.28, 0.28, 0.28, 0.28, 0.28, 0.28],
        BEATEN: [9.0, 0.5, 0.4],
        SLOW: [9.0, 3.0, 2.0],
    }

    def run(config: BackendConfig) -> None:
        clock.now += seconds[config][rounds[config]]
        rounds[config] += 1

    found = best_times({config: partial(run, config) for config in seconds}, clock)
    assert {config: round(best, 6) for config, best in found.items()} == {
        STEADY: 0.2,
        CLOSE: 0.28,
        BEATEN: 0.4,
        SLOW: 2.0,
    }
    assert rounds == {STEADY: ROUNDS + 1, CLOSE: ROUNDS + 1, BEATEN: 3, SLOW: 3}
