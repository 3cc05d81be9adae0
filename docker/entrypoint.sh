#!/usr/bin/env bash
# What a container starts: BentoML's own entrypoint, which lies beside this file, once it can work.
set -euo pipefail
# Kubernetes sets BENTOML_PORT=tcp://... where a Service is named bentoml; BentoML takes a number only
if [[ ! "${BENTOML_PORT:-}" =~ ^[0-9]+$ ]]; then unset BENTOML_PORT; fi
case "${1:-serve}" in
  serve | -*) PYTHONPATH="$BENTO_PATH/src" python -m startup ;;
esac
exec bash "$(dirname "$0")/bentoml-entrypoint.sh" "$@"
