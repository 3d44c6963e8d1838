"""Report lines, shortened to what the table of ranks does not show of them."""

from __future__ import annotations

from functools import lru_cache

from launcher.core.run.report import parse
from launcher.core.run.report_types import EpochReport, StepReport
from launcher.core.text.figures import duration, number


@lru_cache(maxsize=1024)
def folded(line: str) -> str:
    """A step's or an epoch's report in a few words, its epoch counted from 1; others as they are.

    Times, waiting and memory of a step are in the table and in the charts.
    """
    report = parse(line)
    if isinstance(report, StepReport):
        where = f"epoch {_of(report.epoch + 1, report.epochs)}"
        where += f"  step {_of(report.step + 1, report.steps_per_epoch)}"
        return _joined(where, report, f"loss {number(report.loss, 4)}")
    if isinstance(report, EpochReport) and report.epoch is not None:
        words = f"epoch {_of(report.epoch, report.epochs)}  done"
        if report.epoch_time_ms is not None:
            words += f" in {duration(report.epoch_time_ms / 1000)}"
        return _joined(words, report)
    return line


def _joined(where: str, report: StepReport | EpochReport, *more: str) -> str:
    words = [where, *more]
    if report.mean_loss is not None:
        words.append(f"epoch mean {number(report.mean_loss, 4)}")
    if report.learning_rate is not None:
        words.append(f"lr {number(report.learning_rate)}")
    if report.images_per_s is not None:
        words.append(f"{number(report.images_per_s)} images/s")
    return "  ".join(words)


def _of(part: int, whole: int | None) -> str:
    return f"{part}/{whole}" if whole else str(part)
