#!/usr/bin/env bash
# Makes .venv, installs, imports the embedded model and serves on PORT (7987). A second start does no work twice.
# --docker serves from a container instead: builds the image of this machine's platform unless it is there, and starts
# its compose file. What follows --docker goes to `docker compose up` (`./start.sh --docker --detach`).
set -euo pipefail
cd "$(dirname "$0")"
export BENTOML_DO_NOT_TRACK="${BENTOML_DO_NOT_TRACK:-true}"

if [ "${1:-}" = "--docker" ]; then
  shift
  exec scripts/start_container "$@"
fi
[ $# -eq 0 ] || { printf 'Usage: ./start.sh [--docker [OPTION...]]\n' >&2; exit 2; }
# Kubernetes sets BENTOML_PORT=tcp://... where a Service is named bentoml; BentoML takes a number only
if [[ ! "${BENTOML_PORT:-}" =~ ^[0-9]+$ ]]; then unset BENTOML_PORT; fi
scripts/install
scripts/import_models --model all-minilm-l6-v2
exec .venv/bin/bentoml serve
