#!/usr/bin/env bash
# Creates .venv, installs the dependencies, imports the embedded model and serves on PORT (7987). Later starts skip what
# is already done.
# --docker serves from a container instead: builds the image for this machine's platform if it is missing, and starts
# its compose file. Further options are passed to `docker compose up` (`./start.sh --docker --detach`).
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = "--docker" ]; then
  shift
  exec scripts/start_container "$@"
fi
[ $# -eq 0 ] || { printf 'Usage: ./start.sh [--docker [OPTION...]]\n' >&2; exit 2; }
say() { printf '%s\n' "$*" >&2; }
say "Step 1 of 3: Python packages"
scripts/install
say "Step 2 of 3: the model all-minilm-l6-v2"
./embeddings import all-minilm-l6-v2
say "Step 3 of 3: the service"
exec ./embeddings serve
