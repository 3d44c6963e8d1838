#!/usr/bin/env bash
# Train on one GPU.
# usage: bash scripts/run_standalone_train_gpu.sh [DEVICE_ID] [DATA_DIR]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_standalone_train_gpu "$@"
