#!/usr/bin/env bash
# An exported MindIR file over a folder of images, in C++ with MindSpore Lite (docs/how-to/cpp-inference.md).
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'TEXT'
usage: bash run_infer_cpp.sh MINDIR_PATH DATA_PATH DEVICE_TYPE [DEVICE_ID] [OPTION...]

  MINDIR_PATH  what `python -m effnet export --file_format MINDIR` wrote
  DATA_PATH    class folders (or train/ and val/, of which val/ is taken), or images
  DEVICE_TYPE  CPU, GPU or Ascend
  DEVICE_ID    which GPU or Ascend device (default: 0)
  OPTION       --batch-size N, --threads N, --output DIR, --json

It compiles cpp_infer/ the first time, and writes result_Files/, time_Result/ and acc.log here.
MS_LITE_HOME is an unpacked MindSpore Lite; where it is not set, that of PyPI is fetched once.

example: bash run_infer_cpp.sh b2.mindir data/digits CPU 0
TEXT
}

wrong() {
    printf 'error: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}

case "${1:-}" in -h | --help)
    usage
    exit 0
    ;;
esac
[ $# -ge 3 ] || wrong "expected 3 or 4 arguments, got $#"
mindir=$1 data=$2 device=$3 device_id=0
shift 3
case "$device" in
CPU | GPU | Ascend) ;;
*) wrong "DEVICE_TYPE is '$device', must be CPU, GPU or Ascend" ;;
esac
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
    [[ $1 =~ ^[0-9]+$ ]] || wrong "DEVICE_ID is '$1', must be a number"
    device_id=$1
    shift
fi
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
    wrong "'$1' is one argument too many"
fi

program=$("$here/../cpp_infer/build")
# Lite warns of every plugin that it does not need.
export GLOG_v=${GLOG_v:-4}
exec "$program" --model "$mindir" --data "$data" --device "$device" --device-id "$device_id" "$@"
