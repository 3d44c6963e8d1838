#!/usr/bin/env bash
# Resume from a checkpoint, at the next step.
# usage: bash scripts/run_distribute_resume.sh [DEVICE_NUM] [DEVICE_ID(0,1,2,3,4,5,6,7)] [DATA_DIR] [RESUME] [DEVICE_TARGET]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_distribute_resume "$@"
