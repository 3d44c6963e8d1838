#!/usr/bin/env bash
# Evaluate a checkpoint on one Ascend device.
# usage: bash scripts/run_eval.sh [DEVICE_ID] [DATA_DIR] [PATH_CHECKPOINT]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_eval "$@"
