"""The engines: OpenVINO and torch. Each turns token sequences into one row per sequence (contracts.Backend)."""

from __future__ import annotations

import sys

# OpenVINO's converter reports each conversion to Intel by default; blocking this import disables its telemetry
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail
