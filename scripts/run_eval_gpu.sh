#!/usr/bin/env bash
# Evaluate a checkpoint on one GPU.
# usage: bash scripts/run_eval_gpu.sh [DEVICE_ID] [PATH_CHECKPOINT] [DATA_DIR] [DEVICE_TARGET, optional]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_eval_gpu "$@"
