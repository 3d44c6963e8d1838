#!/usr/bin/env bash
# Run an exported ONNX file over a folder.
# usage: bash scripts/run_infer_onnx.sh [ONNX_PATH] [DATA_PATH] [DEVICE_TARGET]
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/reference" run_infer_onnx "$@"
