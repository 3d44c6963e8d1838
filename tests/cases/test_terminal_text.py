"""Escape sequences and markup from outside never reach a terminal."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from launcher.cli.output import console as output
from launcher.cli.output.follow import print_event
from launcher.core.profile.load import load_profile
from launcher.core.text.terminal import clean, clean_lines, escape_json
from launcher.errors import ProfileError
from tui.app import Dashboard
from tui.drawing.themes import SafeFilter

ATTACKS = [
    "\x1b]52;c;ZWNobw==\x07",
    "\x1b[2J\x1b[1;1H",
    "\x9b31m",
    "\x9d0;title\x9c",
    "a\u202eb",
    "\u2066x\u2069",
    "bell\x07\x08\x7f",
    "[/]",
    "[bold red]x",
    ":smile:",
    "\x1bP+q544e\x1b\\",
    "caf\udce9.jpg",
]


def is_safe(text: str) -> bool:
    return not any(
        char < " " or "\x7f" <= char <= "\x9f" or char in "\u202e\u2066\u2069" or char == "\udce9"
        for char in text.replace("\n", "")
    )


@given(st.text())
def test_cleaned_text_is_one_safe_line(text: str) -> None:
    assert is_safe(clean(text))
    assert "\n" not in clean(text)
    assert is_safe(clean_lines(text))
    assert clean(clean(text)) == clean(text)


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, max_size=4)))
def test_json_is_escaped_and_keeps_its_values(value: object) -> None:
    shown = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert is_safe(shown)


@pytest.mark.parametrize("attack", ATTACKS)
def test_json_round_trip(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"path": attack})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"path": attack}
    assert is_safe(shown)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_command_line(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = output.screen()
    console.print(attack)
    console.print(Text(f"node {attack}"), style="red")
    table = Table("node", attack)
    table.add_row(attack, "x")
    console.print(table)
    line = json.dumps({"kind": "x", "t": 1.0, "node": attack}).encode()
    print_event(line, console)
    shown = capsys.readouterr().out
    assert is_safe(shown)
    if attack.startswith(("[", ":")):
        assert shown.count(attack) >= 3


def test_own_colours_are_kept() -> None:
    file = io.StringIO()
    console = output.SafeConsole(file=file, force_terminal=True, color_system="standard")
    console.print("ok \x1b[31mred", style="green")
    assert file.getvalue() == "\x1b[32mok red\x1b[0m\n"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_the_dashboards_messages(attack: str, tmp_path, monkeypatch) -> None:
    from textual.app import App

    seen: list[tuple[str, bool]] = []

    def notify(self: object, message: str, *, markup: bool = True, **options: object) -> None:
        seen.append((message + str(options["title"]), markup))

    monkeypatch.setattr(App, "notify", notify)
    Dashboard.notify(object.__new__(Dashboard), attack, title=attack)
    ((text, markup),) = seen
    assert is_safe(text)
    assert not markup


@pytest.mark.parametrize("attack", ATTACKS)
def test_everything_that_the_dashboard_draws(attack: str) -> None:
    from rich.segment import Segment
    from textual.color import Color

    drawn = SafeFilter().apply([Segment("node "), Segment(attack)], Color(0, 0, 0))
    assert is_safe("".join(segment.text for segment in drawn))


NODE = '[[nodes]]\naddress = "10.0.0.1"\nslots = 2\nname = {}\n'


@pytest.mark.parametrize("name", ["node-b", "gpu.rack1.lan", "fe80::1", "a_b", "n1"])
def test_node_names_can_have_dots_and_colons(name: str) -> None:
    text = 'name = "p"\ndevice_target = "CPU"\nstart_method = "cluster"\ndata_path = "/d"\n'
    assert load_profile(text + NODE.format(json.dumps(name)), "p.toml").nodes[0].label == name


@pytest.mark.parametrize("name", ["[/]", "a b", "\x1b[31m", "../x", "a/b", "-x", "nöde"])
def test_node_names_have_a_pattern(name: str) -> None:
    text = 'name = "p"\ndevice_target = "CPU"\nstart_method = "cluster"\ndata_path = "/d"\n'
    with pytest.raises(ProfileError) as caught:
        load_profile(text + NODE.format(json.dumps(name)), "p.toml")
    assert "nodes" in caught.value.problems[0]
