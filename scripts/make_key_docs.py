"""Writes docs/keys.md, the keys of every screen of the dashboard, from its binding tables.

python scripts/make_key_docs.py            write the page
python scripts/make_key_docs.py --check    exit with 1 when the page is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from textual.binding import Binding
from written_page import DOCS, table, write_or_check

from tui.app import Dashboard
from tui.drawing.text import key_name
from tui.screens.compare import CompareScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.home import HomeScreen
from tui.screens.new_run import NewRunScreen
from tui.screens.request import RequestScreen
from tui.screens.results import ResultsScreen
from tui.screens.run import RunScreen
from tui.screens.run_actions import RunActions
from tui.screens.run_log import RunLog
from tui.screens.run_panels import RunPanels
from tui.widgets.chart import Chart
from tui.widgets.cursor_list import CursorList
from tui.widgets.log_view import LogView
from tui.widgets.pick_list import PickList
from tui.widgets.prompt import Prompt
from tui.widgets.rank_table import RankTable
from tui.widgets.run_table import RunTable

PAGE = DOCS / "keys.md"
HEAD = """\
# Keys of the dashboard

`python scripts/make_key_docs.py` writes this page from the key tables; do not edit it. What the
screens show is on the page [the dashboard](reference/dashboard.md). `?` shows the keys that work
now, `ctrl+p` every action by name. A key with a name in the last column can be changed under
`[keymap]` in the [settings](reference/settings.md).
"""
SCREENS: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    ("Everywhere", "", (Dashboard,)),
    ("Home", "Runs and profiles.", (HomeScreen, PickList, CursorList)),
    ("Home: runs", "While the runs have the focus.", (RunTable,)),
    ("Compare", "Runs beside each other; its chart has the keys of a chart.", (CompareScreen,)),
    ("New run", "The plan of a run before it starts.", (NewRunScreen,)),
    ("Run", "Also when it failed, and in a replay.", (RunScreen, RunActions, RunLog, RunPanels)),
    ("Run: ranks", "While the table of ranks has the focus.", (RankTable, CursorList)),
    ("Run: charts", "While a chart has the focus.", (Chart,)),
    ("Run: log", "While the log has the focus.", (LogView,)),
    ("A search, a filter, a rank", "While its line is open.", (Prompt,)),
    ("Confirm a stop or a removal", "", (ConfirmScreen,)),
    ("Resume, evaluate, export, infer", "The form before it starts.", (RequestScreen,)),
    ("Results", "Checkpoints, evaluations, jobs.", (ResultsScreen, PickList, CursorList)),
    ("Help", "", (HelpScreen,)),
)


def page() -> str:
    parts = [HEAD]
    for title, about, kinds in SCREENS:
        parts.append(f"## {title}\n")
        if about:
            parts.append(f"{about}\n")
        parts.append(table(("key", "action", "name in [keymap]"), rows(kinds)))
    return "\n".join(parts)


def rows(kinds: tuple[type, ...]) -> Iterator[tuple[str, str, str]]:
    """A row an action: its keys, what it does, its name for the key map."""
    for kind in kinds:
        for binding in vars(kind)["BINDINGS"]:
            assert isinstance(binding, Binding)
            if not binding.description:
                continue
            keys = " ".join(f"`{key_name(key)}`" for key in binding.key.split(","))
            name = f"`{binding.id}`" if binding.id else ""
            yield keys, binding.description, name


def main() -> int:
    return write_or_check(PAGE, page)


if __name__ == "__main__":
    sys.exit(main())
