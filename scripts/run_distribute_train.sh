#!/usr/bin/env bash
# Train on the Ascend devices of a rank table.
# usage: bash scripts/run_distribute_train.sh [RANK_TABLE_FILE] [DATA_DIR]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_distribute_train "$@"
