"""Which shared libraries the dynamic linker would find for a rank, tested in a separate process.

The linker reads LD_LIBRARY_PATH when a process starts, so this one cannot know for another
environment. The order is the linker's for MindSpore's plugins: their RPATH, then LD_LIBRARY_PATH.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from launcher.core.checks.toolkit_facts import Library
from launcher.process import tools

LIMIT_S = 60.0
PROBE = """\
import ctypes, json, os, sys
names, folders, driver = json.loads(sys.argv[1])
found = {"libraries": []}
def where(name):
    stem = name.split(".so")[0]
    try:
        with open("/proc/self/maps") as file:
            paths = [line.split(None, 5)[5].strip() for line in file if "/" in line]
    except OSError:
        return ""
    return next((path for path in paths if os.path.basename(path).split(".so")[0] == stem), "")
def load(name):
    paths = [os.path.join(folder, name) for folder in folders]
    for path in [*filter(os.path.exists, paths), name]:
        try:
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL), ""
        except OSError as error:
            problem = str(error)
    return None, problem
for name in names:
    library, problem = load(name)
    found["libraries"].append([name, "" if problem else where(name), problem])
    if library is not None and name == driver:
        try:
            found["init"] = library.cuInit(0)
            number = ctypes.c_int(0)
            if library.cuDriverGetVersion(ctypes.byref(number)) == 0:
                found["driver_cuda"] = number.value
            if found["init"] == 0 and library.cuDeviceGetCount(ctypes.byref(number)) == 0:
                found["gpu_count"] = number.value
        except AttributeError:
            pass
print(json.dumps(found))
"""


def probe(
    names: Sequence[str],
    environment: Mapping[str, str],
    folders: Sequence[str] = (),
    driver: str = "",
) -> tuple[dict[str, Library], dict[str, int]]:
    """(libraries by name, what the driver reports: `init`, `driver_cuda`, `gpu_count`)."""
    argv = [sys.executable, "-c", PROBE, json.dumps([list(names), list(folders), driver])]
    try:
        done = tools.run(argv, environment, LIMIT_S, folder="/")
        found = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        problem = f"libraries cannot be loaded: {type(error).__name__}: {error}"
        return {name: Library(name, problem=problem) for name in names}, {}
    libraries = {name: Library(name, *result) for name, *result in found.pop("libraries")}
    return libraries, found
