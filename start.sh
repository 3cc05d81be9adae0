#!/usr/bin/env bash
# Makes .venv, installs, imports the embedded model and serves on PORT (7987). A second start does no work twice.
set -euo pipefail
cd "$(dirname "$0")"
export BENTOML_DO_NOT_TRACK="${BENTOML_DO_NOT_TRACK:-true}"
scripts/install
scripts/import_models --model all-minilm-l6-v2
exec .venv/bin/bentoml serve
