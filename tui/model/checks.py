"""The rows of a preflight as the new-run screen holds them: frozen, and all words made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

PENDING: Final = "pending"
OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
WORST_FIRST: Final = (FAILED, WARNING, PENDING, SKIPPED, OK)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one node; ``state`` is ``pending`` until it was answered."""

    check: str
    node: str
    state: str = PENDING
    text: str = ""
    hint: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is of: check and node."""
        return self.check, self.node


@dataclass(frozen=True, slots=True)
class Group:
    """What one line of the list shows: a check on all nodes that say the same."""

    check: str
    nodes: tuple[str, ...]
    state: str
    text: str
    hint: str
    is_overridden: bool = False


@dataclass(frozen=True, slots=True)
class CheckBoard:
    """All checks in the order of showing; ``overridden`` are names that the user has typed."""

    checks: tuple[Check, ...] = ()
    overridden: tuple[str, ...] = ()
    is_done: bool = False
    problem: str = ""

    def with_check(self, new: Check) -> CheckBoard:
        """The board with one answer in its place."""
        found = tuple(new if old.key == new.key else old for old in self.checks)
        return replace(self, checks=found)

    def done(self, problem: str = "") -> CheckBoard:
        """Nothing more comes. A check that has no answer was none of this profile's after all."""
        answered = tuple(check for check in self.checks if check.state != PENDING)
        return replace(self, checks=answered, is_done=True, problem=problem)

    def with_override(self, name: str) -> CheckBoard:
        """Raises ``ValueError`` for a name that is no red check's."""
        name = name.strip()
        red = self.red
        if name not in {word for check in red for word in names_of(check)}:
            known = ", ".join(dict.fromkeys(check.check for check in red))
            raise ValueError(f"no red check is called {name!r}; red: {known or 'none'}")
        return replace(self, overridden=(*self.overridden, name))

    def is_overridden(self, check: Check) -> bool:
        """Whether its name, or that of its check on every node, was typed."""
        return bool(set(names_of(check)) & set(self.overridden))

    @property
    def red(self) -> tuple[Check, ...]:
        """What stands in the way."""
        return tuple(
            check
            for check in self.checks
            if check.state == FAILED and not self.is_overridden(check)
        )

    @property
    def is_green(self) -> bool:
        """Whether one key may start it."""
        return self.is_done and not self.red and not self.problem

    @property
    def words(self) -> str:
        """How it stands, in one line."""
        if self.problem:
            return f"not looked at: {self.problem}"
        answered = sum(check.state != PENDING for check in self.checks)
        parts = [f"{answered} of {len(self.checks)}"]
        for state, word in ((FAILED, "red"), (WARNING, "to know of"), (SKIPPED, "not asked")):
            count = sum(check.state == state for check in self.checks)
            if state == FAILED:
                parts += [f"{len(self.red)} {word}"] if self.red else []
                ignored = count - len(self.red)
                parts += [f"{ignored} overridden"] if ignored else []
            elif count:
                parts.append(f"{count} {word}")
        return ", ".join(parts)

    @property
    def next_words(self) -> str:
        """What to press, or what is waited for."""
        if not self.is_done:
            return "looking …"
        if self.red:
            return "c looks again, o overrides one by name"
        return "ctrl+s starts"

    def groups(self) -> tuple[Group, ...]:
        """Lines to show: one a check, and one for each different answer that is not green."""
        found: dict[tuple[str, str, str], list[Check]] = {}
        for check in self.checks:
            same = check.text if check.state in (FAILED, WARNING) else ""
            found.setdefault((check.check, check.state, same), []).append(check)
        order = {check.check: at for at, check in reversed([*enumerate(self.checks)])}
        made = [self._group(checks) for checks in found.values()]
        # By check, and the worst of each first.
        made.sort(key=lambda group: (order[group.check], WORST_FIRST.index(group.state)))
        return tuple(made)

    def _group(self, checks: Sequence[Check]) -> Group:
        first = checks[0]
        text = first.text if len(checks) == 1 or first.state in (FAILED, WARNING) else ""
        return Group(
            first.check,
            tuple(check.node for check in checks),
            first.state,
            text,
            first.hint if first.state in (FAILED, WARNING) else "",
            first.state == FAILED and all(map(self.is_overridden, checks)),
        )


def names_of(check: Check) -> tuple[str, str]:
    """What overrides it: its own name on every node, or on this one."""
    return check.check, f"{check.check}@{check.node}"


def waiting(expected: Iterable[tuple[str, str]], overridden: tuple[str, ...] = ()) -> CheckBoard:
    """A board that nobody has answered yet."""
    return CheckBoard(tuple(Check(check, node) for check, node in expected), overridden)
