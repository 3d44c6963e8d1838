"""The rows of a preflight as the new-run screen shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from launcher.client import Row

PENDING: Final = "pending"
OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
WORST_FIRST: Final = (FAILED, WARNING, PENDING, SKIPPED, OK)
Key = tuple[str, str]  # check, node


@dataclass(frozen=True, slots=True)
class Group:
    """One line of the list: a check on all nodes with the same answer."""

    check: str
    nodes: tuple[str, ...]
    state: str
    text: str = ""
    hint: str = ""
    is_ignored: bool = False


@dataclass(frozen=True, slots=True)
class CheckBoard:
    """All checks in the order of showing; ``ignored`` are names that the user typed."""

    expected: tuple[Key, ...] = ()
    rows: Mapping[Key, Row] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    is_done: bool = False
    problem: str = ""
    is_asked: bool = True  # False: nothing was checked, since nodes would be contacted for it

    def with_row(self, row: Row) -> CheckBoard:
        return replace(self, rows={**self.rows, (row.check, row.node): row})

    def done(self, problem: str = "") -> CheckBoard:
        """No more rows come. A check without an answer does not apply to this profile."""
        answered = tuple(key for key in self.expected if key in self.rows)
        return replace(self, expected=answered, is_done=True, problem=problem)

    def with_ignored(self, name: str) -> CheckBoard:
        """Raises ``ValueError`` unless a failed check has this name."""
        name = name.strip()
        if name not in {word for row in self.failed for word in (row.check, row.name)}:
            known = ", ".join(dict.fromkeys(row.check for row in self.failed))
            raise ValueError(f"no failed check {name!r}; failed: {known or 'none'}")
        return replace(self, ignored=(*self.ignored, name))

    def is_ignored(self, row: Row) -> bool:
        """Whether the user named it, or its check on every node."""
        return bool({row.check, row.name} & set(self.ignored))

    @property
    def failed(self) -> tuple[Row, ...]:
        """The failed checks that are not ignored: they prevent a start."""
        found = (self.rows.get(key) for key in self.expected)
        return tuple(
            row for row in found if row and row.state == FAILED and not self.is_ignored(row)
        )

    @property
    def is_green(self) -> bool:
        """Whether it may start."""
        return self.is_done and not self.failed and not self.problem

    @property
    def words(self) -> str:
        """The result so far."""
        if self.problem:
            return f"not checked: {self.problem}"
        if not self.is_asked:
            return "not run"
        states = [self._state(key) for key in self.expected]
        parts = [f"{len(states) - states.count(PENDING)} of {len(states)}"]
        failed = len(self.failed)
        for count, word in (
            (failed, "failed"),
            (states.count(FAILED) - failed, "ignored"),
            (states.count(WARNING), "warning" if states.count(WARNING) == 1 else "warnings"),
            (states.count(SKIPPED), "skipped"),
        ):
            parts += [f"{count} {word}"] if count else []
        return ", ".join(parts)

    @property
    def next_words(self) -> str:
        if not self.is_asked:
            return "c: check the nodes  ctrl+s: check, then start"
        if not self.is_done:
            return "checking …"
        return "c: check again  o: ignore one by name" if self.failed else "ctrl+s: start"

    def groups(self) -> tuple[Group, ...]:
        """Lines to show: one per check, and one for each different answer that is not green."""
        found: dict[tuple[str, str, str], list[Key]] = {}
        for key in self.expected:
            state = self._state(key)
            same = self.rows[key].text if state in (FAILED, WARNING) else ""
            found.setdefault((key[0], state, same), []).append(key)
        order = {check: at for at, (check, _) in reversed([*enumerate(self.expected)])}
        made = [self._group(state, keys) for (_, state, _), keys in found.items()]
        # By check, and the worst of each first.
        made.sort(key=lambda group: (order[group.check], WORST_FIRST.index(group.state)))
        return tuple(made)

    def _state(self, key: Key) -> str:
        row = self.rows.get(key)
        return PENDING if row is None else row.state.value

    def _group(self, state: str, keys: Sequence[Key]) -> Group:
        rows = [self.rows[key] for key in keys if key in self.rows]
        check, nodes = keys[0][0], tuple(node for _, node in keys)
        is_bad = state in (FAILED, WARNING)
        if not rows or (len(keys) > 1 and not is_bad):
            return Group(check, nodes, state)
        ignored = state == FAILED and all(map(self.is_ignored, rows))
        return Group(check, nodes, state, rows[0].text, rows[0].hint if is_bad else "", ignored)
