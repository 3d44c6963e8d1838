"""A folder for PYTHONPATH: B0 is small in processes that have it (see __init__.py).

SMALL_HANG, as `sleep 1 200`: rank 1 hangs for ever when it opens its 200th image; or `lock`.
"""

import importlib.abc
import importlib.machinery
import os
import sys

# Its frames look like a library's, so that the code that calls it is the place of the hang.
HANG = """
import itertools, threading, time
from PIL import Image
opened, real, lock = itertools.count(1), Image.open, threading.Lock()
lock.acquire()
def open_or_hang(*given, **more):
    if next(opened) == call:
        time.sleep(1e6) if how == "sleep" else lock.acquire()
    return real(*given, **more)
Image.open = open_or_hang
"""

WIDTH = 0.25
STAGES = 3


def shrink(scaling):
    """Changes `effnet.model.scaling`; -> what it had before, for `restore`."""
    before = scaling.VARIANTS["b0"], scaling._STAGES
    scaling.VARIANTS["b0"] = scaling.Variant("b0", WIDTH, 1.0, resolution_px=224, dropout=0.2)
    scaling._STAGES = scaling._STAGES[:STAGES]
    return before


def restore(scaling, before):
    scaling.VARIANTS["b0"], scaling._STAGES = before


class SmallB0(importlib.abc.MetaPathFinder):
    """Shrinks the module once something imports it. It must not import it itself."""

    def find_spec(self, name, path=None, target=None):
        if name != "effnet.model.scaling":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_small(module):
            load(module)
            shrink(module)

        spec.loader.exec_module = load_small
        return spec


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, SmallB0())
    how, rank, call = os.environ.get("SMALL_HANG", "").split() or ("", "", "0")
    if how and os.environ.get("RANK_ID") == rank:
        exec(compile(HANG, "<hang>", "exec"), {"how": how, "call": int(call)})
