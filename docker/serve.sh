#!/bin/sh
# The command of the image: index /videos into /data/index, then serve the index.
set -eu

if [ -z "${MLCMR_TOKEN:-}" ]; then
  MLCMR_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  export MLCMR_TOKEN
fi

# An index keeps its model: say MLCMR_MODEL or MLCMR_RUN when you make it.
set -- /videos --to /data/index
if [ -n "${MLCMR_RUN:-}" ]; then
  set -- "$@" --run "$MLCMR_RUN"
elif [ -n "${MLCMR_MODEL:-}" ]; then
  set -- "$@" --model "$MLCMR_MODEL"
fi
if [ -n "${QDRANT_URL:-}" ]; then
  set -- "$@" --url "$QDRANT_URL" --name videos
fi
mlcmr index "$@"

echo "open http://localhost:8000/?token=$MLCMR_TOKEN"
exec mlcmr serve /data/index --host 0.0.0.0 --port 8000
