"""The MindSpore cluster's scheduler: `python -m effnet.scheduler` with `MS_ROLE=MS_SCHED`.

It only brings the ranks together, so it needs no training script, no data and no network.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Returns when the ranks are done; MindSpore ends the process itself when they die."""
    if os.environ.get("MS_ROLE") != "MS_SCHED":
        print("error: effnet.scheduler wants MS_ROLE=MS_SCHED", file=sys.stderr)
        return 2
    import mindspore as ms
    from mindspore import communication

    ms.set_device(os.environ.get("EFFNET_DEVICE_TARGET", "CPU"))
    communication.init()
    return 0


if __name__ == "__main__":
    sys.exit(main())
