"""What two commands cost with many nodes or runs: `plan` and `runs`.

    python benchmarks/commands.py [--nodes 1000] [--runs 1000] [--repeat 5]

`plan` is of nodes with 8 devices each and a rank table; `runs` lists copies of one small finished
run, the first time without kept summaries. CPU time is that of the process, imports included: the
median of the calls. The goals are 2 s and 20 MB for a plan, and 0.3 s of CPU for `runs` again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from home import make_runs
from rows import head, row

PROFILE = """\
name = "many"
device_target = "Ascend"
start_method = "ranktable"
data_path = "/data"
[node_defaults]
transport = "ssh"
user = "trainer"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="commands-") as name:
        folder = Path(name)
        environ = {**os.environ, "EFFNET_RUNS_DIR": f"{name}/runs"}
        environ |= {"XDG_STATE_HOME": name, "XDG_CACHE_HOME": f"{name}/cache"}
        head("", "CPU", "memory", "output")
        profile = folder / "many.toml"
        profile.write_text(PROFILE + "".join(map(node, range(options.nodes))))
        for words in (("plan", str(profile)), ("plan", str(profile), "--json")):
            shown = " ".join(word for word in words if word != str(profile))
            title = f"`{shown}`, {options.nodes:,} nodes with 8 devices"
            row(title, *cost(words, environ, options.repeat))
        make_runs(folder, options.runs)
        title = f"`runs`, {options.runs:,} runs"
        row(f"{title}, first", *cost(("runs",), environ, 1))
        row(f"{title}, again", *cost(("runs",), environ, options.repeat))


def node(number: int) -> str:
    """A node of a profile, with 8 devices."""
    place = f"{number >> 8}.{number & 255}"
    devices = (f'{{ device_id = {n}, device_ip = "192.{168 + n}.{place}" }}' for n in range(8))
    return f'[[nodes]]\naddress = "10.{place}.1"\ndevices = [{", ".join(devices)}]\n'


def cost(words: tuple[str, ...], environ: dict[str, str], repeat: int) -> tuple[str, str, str]:
    """Median CPU time, peak memory and output of `effnet-launch WORDS`."""
    times, most_kib, size = list[float](), 0, 0
    argv = [sys.executable, "-m", "launcher.cli.app", *words]
    for _ in range(repeat):
        with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            size = len(child.stdout.read())
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{argv} ended with exit code {child.returncode}")
        times.append(used.ru_utime + used.ru_stime)
        most_kib = max(most_kib, used.ru_maxrss)
    output = f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.0f} kB"
    return f"{median(times):.2f} s", f"{most_kib / 1024:.0f} MiB", output


if __name__ == "__main__":
    main()
