#!/usr/bin/env bash
# Entrypoint of the container: checks BENTOML_HOME, then runs BentoML's own entrypoint, which is beside this file.
set -euo pipefail
# Kubernetes sets BENTOML_PORT=tcp://... if a Service is named bentoml; BentoML accepts only a number
if [[ ! "${BENTOML_PORT:-}" =~ ^[0-9]+$ ]]; then unset BENTOML_PORT; fi
case "${1:-serve}" in
  serve | -*) PYTHONPATH="$BENTO_PATH/src" python -m startup ;;
esac
exec bash "$(dirname "$0")/bentoml-entrypoint.sh" "$@"
