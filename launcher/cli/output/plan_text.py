"""A plan as text for people."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from launcher.core.plan.model import Plan
from launcher.core.profile.copies import copies_text
from launcher.core.profile.secrets import HIDDEN
from launcher.core.profile.spares import may_shrink
from launcher.core.text.figures import duration, milliseconds, plural

if TYPE_CHECKING:
    from launcher.client import Configuration
    from launcher.core.history.duration import Estimate
    from launcher.core.profile.model import Profile

ENOUGH = 1.1
"""Images are prepared so many times faster than they are needed, or a step waits for some."""


def print_plan(plan: Plan, console: Console) -> None:
    """Files, then each process with its command and environment; shared variables once."""
    # The terminal breaks lines that are too long: to do it here takes seconds for 1,000 nodes.
    console.print(_Parts(tuple(_parts_of(plan))), soft_wrap=True)


class _Parts:
    """Texts with their styles, one below the other."""

    def __init__(self, parts: tuple[tuple[str, str], ...]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for style, text in self._parts:
            yield Segment(text + "\n", console.get_style(style))


def _parts_of(plan: Plan) -> Iterator[tuple[str, str]]:
    head = f"{plan.profile}: {plan.ranks_words}, {plan.device_target}, {plan.start_method}"
    yield "bold", head
    if plan.master_address:
        port = plan.master_port or "chosen at the start"
        yield "none", f"master {plan.master_address}, port {port}"
    yield "none", f"run directory {plan.run_directory}"
    for file in plan.files:
        yield "bold", f"\nwrites {file.path}{file.where}"
        yield "none", _indent(file.content.rstrip())
    shared = _shared(plan)
    if shared:
        yield "bold", "\nenvironment of every process"
        yield "none", _indent(_assignments(shared))
    for process in plan.processes:
        device = "" if process.device_id is None else f", device {process.device_id}"
        cpus = f", CPUs {','.join(map(str, process.cpus))}" if process.cpus else ""
        yield "bold", f"\n{process.name} on {process.node}{device}{cpus}"
        folder = "" if process.is_own else f"\nin {process.working_directory}"
        yield "none", _indent(shlex.join(process.argv) + folder)
        own = {k: v for k, v in process.environment.items() if shared.get(k) != v}
        yield "dim", _indent(_assignments(own))


def print_spares(profile: Profile, console: Console) -> None:
    """What is used when a node fails."""
    for node in profile.spares:
        what = "takes the place of a node that fails (retry.nodes)"
        text = f"\nspare {node.label} at {node.address}, {plural(node.rank_count, 'rank')}: {what}"
        console.print(Text(text, style="bold"), soft_wrap=True)
    if may_shrink(profile):
        which = "that no spare can replace" if profile.spares else "that fails"
        text = f"\na node {which} is left out: the others carry its ranks"
        console.print(Text(f"{text} (retry.nodes)", style="bold"), soft_wrap=True)


def print_copies(profile: Profile, console: Console) -> None:
    """On which node checkpoints are a second time."""
    if text := copies_text(profile):
        console.print(Text(f"\n{text}", style="bold"), soft_wrap=True)


def print_configuration(configuration: Configuration, console: Console) -> None:
    """The training keys that are not the target's defaults, as TOML, and remarks."""
    lines = "\n".join(value.line for value in configuration.values if not value.is_default)
    if lines:
        title = "\ntraining configuration, where it differs from the defaults"
        console.print(Text(title, style="bold"))
        console.print(Text(_indent(lines), overflow="fold"))
    for note in configuration.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)


def print_estimate(found: Estimate | None, profile: str, console: Console) -> None:
    """The duration, what it is made of, and when and where that was measured."""
    again = f"effnet-launch preflight {profile} --calibrate"
    console.print()
    if found is None:
        text = f"duration not known: {again} measures a few steps"
        console.print(Text(text, style="dim"), soft_wrap=True)
        return
    known = found.calibration
    parts = [f"{found.steps:,} steps of {milliseconds(known.step_time_ms)}"]
    if found.evaluations and known.evaluation_ms:
        parts.append(f"{found.evaluations} evaluations of {milliseconds(known.evaluation_ms)}")
    parts.append(f"{duration(known.startup_s)} to start and end")
    console.print(Text(f"estimated duration {duration(found.duration_s)}", style="bold"))
    console.print(Text(_indent(f"{found.epochs} epochs: {', '.join(parts)}; no checkpoints")))
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(known.at))
    where = f"{known.ranks} ranks on {', '.join(known.nodes)}, run {known.run}"
    console.print(Text(_indent(f"measured {when}: {where}"), overflow="fold"))
    if known.feed_images_per_s is not None:
        feed, needed = known.feed_images_per_s, known.needed_images_per_s
        rates = f"a rank's cores prepare {feed:,.0f} images/s, its steps take {needed:,.0f}"
        console.print(Text(_indent(rates)))
        if feed < needed * ENOUGH:
            text = "note: steps wait for images: give the ranks more cores, or prepare less"
            console.print(Text(f"{text} (auto_augment, image_size)", style="yellow"))
    if found.other:
        text = f"note: measured with other settings ({'; '.join(found.other)}): repeat {again}"
        console.print(Text(text, style="yellow"), soft_wrap=True)


def _shared(plan: Plan) -> dict[str, str]:
    if len(plan.processes) < 2:
        return {}
    first, *others = [process.environment for process in plan.processes]
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def _assignments(environment: dict[str, str]) -> str:
    words = {key: shlex.quote(value) for key, value in sorted(environment.items())}
    return "\n".join(
        f"{key}={HIDDEN if environment[key] == HIDDEN else word}" for key, word in words.items()
    )


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
