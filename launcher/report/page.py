"""The report's HTML: one file that requests nothing."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Callable, Iterable, Sequence

from launcher.core.diagnosis.goodput import CLASSES
from launcher.core.diagnosis.words import headline, meaning
from launcher.core.profile.model import Profile
from launcher.core.run.state import AttemptState
from launcher.core.text.figures import (
    NOT_KNOWN,
    accuracy,
    count,
    duration,
    milliseconds,
    number,
    percent,
    plural,
    size_bytes,
)
from launcher.core.text.terminal import clean
from launcher.reading.history.lateness import late_ranks_of
from launcher.reading.run import RunReader
from launcher.reading.snapshot import RunSnapshot
from launcher.report.chart import Curve, Mark, chart
from launcher.report.mask import Mask

MARK = "<!-- effnet-tui report -->"
"""The first line: such a file may be replaced by a newer report."""

MAX_CURVES = 8
CHARTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("loss", "loss", lambda value: number(value, 3)),
    ("step time", "step_time_ms", milliseconds),
    ("wait for other ranks", "wait_ms", milliseconds),
    ("images/s of all ranks", "images_per_s", lambda value: number(value, 3)),
    ("memory", "memory_bytes", size_bytes),
    ("learning rate", "learning_rate", lambda value: number(value, 3)),
)
OF_THE_RUN = ("loss", "images_per_s", "learning_rate")
"""Fields that all ranks have in common: rank 0's curve is enough."""

STYLE = """\
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#1f2933}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #d9dee4}
table{border-collapse:collapse}td,th{text-align:left;padding:.15em 1.2em .15em 0;vertical-align:top}
pre{background:#f4f6f8;padding:.7em;overflow:auto;font-size:13px}
.failed{color:#b91c1c;font-weight:600}.good{color:#047857;font-weight:600}.muted{color:#667}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(24em,1fr));gap:1em}
figure{margin:0}figcaption{font-weight:600;font-size:14px}figcaption span{font-weight:400}
svg{width:100%}svg text{font-size:11px;fill:#667}svg .y{text-anchor:end}
svg .grid{stroke:#e3e7eb}svg .mark{stroke:#99a;stroke-dasharray:3 3}
polyline{fill:none;stroke-width:1.3}
.bar{display:flex;height:1.4em;margin:.4em 0}.bar div{min-width:1px}
@media(prefers-color-scheme:dark){body{background:#15191e;color:#dde3ea}pre{background:#1f252c}
svg .grid{stroke:#2c343d}h2{border-color:#2c343d}}
"""
GOODPUT_COLOURS = {
    "compute_s": "#059669",
    "compile_s": "#0891b2",
    "launch_s": "#60a5fa",
    "wait_s": "#d97706",
    "input_s": "#b45309",
    "checkpoint_s": "#7c3aed",
    "evaluation_s": "#a78bfa",
    "lost_s": "#dc2626",
    "down_s": "#7f1d1d",
    "stopped_s": "#9ca3af",
    "queue_s": "#cbd5e1",
}


def report(reader: RunReader, profile: Profile | None, *, is_anonymous: bool = False) -> str:
    """The whole page. ``profile`` is the run's, where it can be read."""
    snapshot = reader.poll()
    return _Page(reader, snapshot, profile, Mask(profile) if is_anonymous else str).text()


class _Page:
    """Writes the sections; every text from the run passes ``_say``."""

    def __init__(
        self,
        reader: RunReader,
        run: RunSnapshot,
        profile: Profile | None,
        shown: Callable[[str], str],
    ) -> None:
        self._reader = reader
        self._run = run
        self._profile = profile
        self._shown = shown

    def text(self) -> str:
        title = self._say(self._run.run)
        sections = (
            self._head(),
            self._goodput(),
            self._late_ranks(),
            self._curves(),
            self._attempts(),
            self._evaluations(),
            self._configuration(),
        )
        return (
            f'{MARK}\n<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            # Nothing in the page can load anything, whatever a log line in it says.
            '<meta http-equiv="Content-Security-Policy"'
            " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
            f"<title>{title}</title><style>{STYLE}</style></head><body>"
            f"<h1>{title}</h1>{''.join(filter(None, sections))}</body></html>\n"
        )

    def _say(self, text: object) -> str:
        return html.escape(self._shown(clean(str(text))))

    def _rows(self, rows: Iterable[tuple[str, str]]) -> str:
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"

    def _table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        top = "".join(f"<th>{name}</th>" for name in head)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><tr>{top}</tr>{body}</table>"

    def _head(self) -> str:
        run = self._run
        status = run.status.value
        kind = {"failed": "failed", "lost": "failed", "hung": "failed", "finished": "good"}
        rows = [("state", f'<span class="{kind.get(status, "")}">{status}</span>')]
        if run.failure is not None:
            rows.append(("cause", self._say(run.cause)))
        if run.note:
            rows.append(("note", self._say(run.note)))
        attempts = plural(len(run.state.attempts), "attempt")
        rows += [
            ("profile", self._say(run.profile)),
            ("ranks", str(run.world_size)),
            ("began", _time(run.created_s)),
            ("duration", f"{duration(run.duration_s)}, {attempts}"),
            ("progress", f"step {count(run.steps_done)} of {count(run.steps_total)}"),
            ("best top-1", accuracy(run.best_top_1)),
        ]
        if run.info is not None and run.info.command:
            rows.append(("command", f"<code>{self._say(shlex.join(run.info.command))}</code>"))
        versions = {} if run.info is None else run.info.versions
        known = ", ".join(f"{name} {version}" for name, version in versions.items())
        rows.append(("versions", self._say(known or NOT_KNOWN)))
        return self._rows(rows)

    def _goodput(self) -> str:
        found = self._reader.goodput()
        if found.wall_s <= 0:
            return ""
        parts = sorted(((getattr(found, name), name) for name in CLASSES), reverse=True)
        shown = [(value, name) for value, name in parts if value > 0]
        bar = "".join(
            f'<div style="flex:{value:.3f};background:{GOODPUT_COLOURS.get(name, "#888")}"'
            f' title="{name[:-2]}"></div>'
            for value, name in shown
        )
        rows = [
            (
                f'<span style="color:{GOODPUT_COLOURS.get(name, "#888")}">■</span> {name[:-2]}',
                duration(value),
                percent(value, found.wall_s),
            )
            for value, name in shown
        ]
        notes = "".join(f'<p class="muted">{self._say(note)}</p>' for note in found.notes)
        head = f"<h2>Where {duration(found.wall_s)} went: goodput {percent(found.share)}</h2>"
        table = self._table(("", "time", "share"), rows)
        return f'{head}<div class="bar">{bar}</div>{table}{notes}'

    def _late_ranks(self) -> str:
        rows = [
            (
                str(late.rank),
                self._say(late.node or NOT_KNOWN),
                milliseconds(late.late_ms),
                self._say(late.cause.value),
                self._say(late.evidence),
            )
            for late in late_ranks_of(self._reader)
        ]
        head = ("rank", "node", "late by", "cause", "evidence")
        return f"<h2>Late ranks, at the end</h2>{self._table(head, rows)}" if rows else ""

    def _curves(self) -> str:
        marks = [
            Mark(attempt.resume.step, f"attempt {attempt.attempt}")
            for attempt in self._run.state.attempts
            if attempt.resume is not None and attempt.resume.step is not None
        ]
        charts = []
        for title, field, text in CHARTS:
            ranks = range(min(self._run.world_size, 1 if field in OF_THE_RUN else MAX_CURVES))
            series = [self._reader.series(rank, field) for rank in ranks]
            curves = [
                Curve(f"rank {item.rank}" if len(ranks) > 1 else "", item.steps, item.values)
                for item in series
                if len(item.steps)
            ]
            charts.append(chart(title, curves, text, marks))
        drawn = "".join(filter(None, charts))
        left_out = self._run.world_size - MAX_CURVES
        more = f'<p class="muted">{plural(left_out, "more rank")}.</p>' if left_out > 0 else ""
        return f'<h2>Curves</h2><div class="charts">{drawn}</div>{more}' if drawn else ""

    def _attempts(self) -> str:
        parts = [self._attempt(attempt) for attempt in self._run.state.attempts]
        return "<h2>Attempts</h2>" + "".join(parts) if parts else ""

    def _attempt(self, attempt: AttemptState) -> str:
        start = "from the beginning"
        if attempt.resume is not None:
            start = f"from {self._say(attempt.resume.place)}: {self._say(attempt.resume.why)}"
        end_s = attempt.ended_s
        took = NOT_KNOWN if end_s is None else duration(end_s - attempt.started_s)
        head = (
            f"<h3>Attempt {attempt.attempt}: {attempt.status.value}</h3>"
            f"<p>{_time(attempt.started_s)}, {took}, {start}</p>"
        )
        failure = attempt.failure
        if failure is None:
            return head + self._stacks(attempt)
        advice = f"<p>{self._say(failure.try_next)}</p>" if failure.try_next else ""
        words = f'<p class="failed">{self._say(headline(failure))}</p>'
        words += f"<p>{self._say(meaning(failure))}</p>{advice}"
        for title, lines in (
            ("Traceback", failure.traceback),
            ("Last lines of its log", failure.last_lines),
        ):
            if lines:
                body = "\n".join(self._say(line) for line in lines)
                words += f"<p>{title}</p><pre>{body}</pre>"
        return head + words + self._stacks(attempt)

    def _stacks(self, attempt: AttemptState) -> str:
        if attempt.stacks is None:
            return ""
        words = f"<p>Stacks of all ranks: {self._say(attempt.stacks.words)}</p>"
        dump = self._reader.stacks()
        if dump is None or dump.attempt != attempt.attempt:
            return words
        for group in dump.verdict.groups:
            lines = "\n".join(
                self._say(f"{frame.file}:{frame.line} {frame.function}") for frame in group.frames
            )
            ranks = ", ".join(map(str, group.ranks))
            words += f"<p>ranks {ranks}: {self._say(group.words)}</p><pre>{lines}</pre>"
        return words

    def _evaluations(self) -> str:
        rows = [
            (
                count(item.step),
                self._say(item.job or "during training"),
                accuracy(item.top_1_acc),
                accuracy(item.top_5_acc),
                number(item.loss, 4),
                count(item.images),
            )
            for item in self._run.state.evals
        ]
        head = ("step", "by", "top-1", "top-5", "loss", "images")
        return f"<h2>Evaluations</h2>{self._table(head, rows)}" if rows else ""

    def _configuration(self) -> str:
        parts = []
        config = _read(self._reader.paths.config)
        if config:
            parts.append(f"<h2>Configuration</h2><pre>{self._say_lines(config)}</pre>")
        if self._profile is not None:
            text = self._profile.to_json()
            parts.append(
                "<h2>Profile</h2><details><summary>all keys; secrets are not in it</summary>"
                f"<pre>{self._say_lines(text)}</pre></details>"
            )
        return "".join(parts)

    def _say_lines(self, text: str) -> str:
        return "\n".join(self._say(line) for line in text.splitlines())


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NOT_KNOWN
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _read(path: object) -> str:
    try:
        with open(str(path), encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
