"""Importing one model: importer.py runs all steps, child.py runs it in a child process.

locate (registration.py, download.py, hub_cache.py) -> convert (conversion/) -> verify.py -> register -> export
(openvino_export.py, in a child process by export_child.py). Only service.py and scripts/ import this package.
"""

import runners.backends  # noqa: F401  # disables OpenVINO's telemetry before anything imports openvino
