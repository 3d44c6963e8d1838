#!/usr/bin/env bash
# Train on several GPUs, with mpirun.
# usage: bash scripts/run_train_gpu.sh [DEVICE_NUM] [DEVICE_ID(0,1,2,3,4,5,6,7)] [DATA_DIR]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_train_gpu "$@"
