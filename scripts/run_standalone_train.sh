#!/usr/bin/env bash
# Train on one Ascend device.
# usage: bash scripts/run_standalone_train.sh [DEVICE_ID] [DATA_DIR]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_standalone_train "$@"
