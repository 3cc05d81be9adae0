#!/usr/bin/env bash
# Creates .venv, installs the dependencies, imports the embedded model and serves on PORT (7987). Later starts skip what
# is already done.
# --docker serves from a container instead: builds the image for this machine's platform if it is missing, and starts
# its compose file. Further options are passed to `docker compose up` (`./start.sh --docker --detach`).
set -euo pipefail
cd "$(dirname "$0")"
export BENTOML_DO_NOT_TRACK="${BENTOML_DO_NOT_TRACK:-true}"

if [ "${1:-}" = "--docker" ]; then
  shift
  exec scripts/start_container "$@"
fi
[ $# -eq 0 ] || { printf 'Usage: ./start.sh [--docker [OPTION...]]\n' >&2; exit 2; }
# Kubernetes sets BENTOML_PORT=tcp://... if a Service is named bentoml; BentoML accepts only a number
if [[ ! "${BENTOML_PORT:-}" =~ ^[0-9]+$ ]]; then unset BENTOML_PORT; fi
scripts/install
scripts/import_models --model all-minilm-l6-v2
exec .venv/bin/bentoml serve
