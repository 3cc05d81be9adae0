"""How hypothesis works here: the same examples in every run, and no failure because the machine is slow."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "unit",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("unit")
