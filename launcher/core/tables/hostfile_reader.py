"""Reads a hostfile as OpenMPI does: the tokens of its lexer, then its parser's rules.

Source: ``hostfile_lex.l`` and ``hostfile.c`` of OpenMPI 4 (ORTE) and 5 (PRRTE); a differential test
compares the result with a real mpirun (tests/cases/hostfiles.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from launcher.core.profile.address import ip_address
from launcher.core.tables.finding import Finding

SLOTS_KEYS = frozenset({"slots", "cpu", "count"})
MAX_SLOTS_KEYS = frozenset(
    f"{a}{sep}{b}"
    for sep in ("-", "_")
    for one in ("slots", "cpu", "count")
    for a, b in (("max", one), (one, "max"))
)
USER_KEYS = frozenset({"username", "user-name", "user_name"})
PORT_KEYS = frozenset({"port"})
# Words of the lexer that the parser does not accept; no host can have such a name.
_UNUSED_KEYS = frozenset(
    {"rank", "slot", "boards", "sockets", "sockets_per_board", "sockets-per-board", "cores"}
    | {"cores_per_socket", "cores-per-socket", "cpu_set", "cpu-set"}
)
_KEYS = SLOTS_KEYS | MAX_SLOTS_KEYS | USER_KEYS | PORT_KEYS | _UNUSED_KEYS

_USER = r"(?:[A-Za-z0-9][A-Za-z0-9_\-]*@)?"
_GROUP = "[A-Fa-f0-9]{0,4}"
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("newline", r"[\f\t\v ]*\n|#[^\n]*\n|//[^\n]*\n"),
        ("comment", r"/\*"),
        ("quoted", r'"[^"]*"'),
        ("white", r"[\f\t\v ]+"),
        ("equal", r"="),
        ("relative", r"\+n[0-9]+|\+[eE]:[0-9]+|\+[eE]"),
        ("int", r"[0-9]+"),
        ("string", r"[A-Za-z0-9_\-,:*@]+"),
        ("host", rf"{_USER}(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}"),
        ("host", rf"{_USER}(?:{_GROUP}:)+:*(?:{_GROUP}:)+[A-Fa-f0-9]{{1,4}}"),
        ("host", r"\^?(?:[A-Za-z0-9][A-Za-z0-9_\-]*@)?[A-Za-z0-9][A-Za-z0-9_\-.]*"),
        ("error", r"[\s\S]"),
    )
)
"""The longest match wins, then the first; as in flex."""
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)


@dataclass(frozen=True)
class HostLine:
    """One host of a hostfile; ``slots`` ``None``: as many as the host has cores.

    ``is_excluded``: ``^host``; ``is_relative``: ``+n0`` and similar; ``line`` counts from 1.
    """

    host: str
    slots: int | None = None
    max_slots: int | None = None
    user: str = ""
    port: int | None = None
    is_excluded: bool = False
    is_relative: bool = False
    line: int = 0


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


@dataclass
class _Node:
    """A host in the parser; several lines may name it."""

    first: HostLine | None = None
    slots: int = 0
    max_slots: int = 0
    is_given: bool = False


class _Refused(ValueError):
    """Why OpenMPI refuses a line."""


@dataclass
class Reader:
    """Reads one file; ``hosts`` and ``findings`` are the result."""

    text: str
    keep_fqdn: bool = False
    hosts: list[HostLine] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    nodes: dict[str, _Node] = field(default_factory=dict)

    def read(self) -> Reader:
        self._tokens = list(_tokens(self.text))
        self._at = 0
        while (token := self._next()).kind != "done":
            if token.kind == "newline":
                continue
            try:
                self._line(token)
            except _Refused as error:
                self.findings.append(Finding(f"line {token.line}", str(error)))
                while token.kind not in ("newline", "done"):
                    token = self._next()
        return self

    def node_name(self, host: str) -> str:
        """The name that OpenMPI compares: without the domain, unless it keeps it."""
        is_whole = self.keep_fqdn or ip_address(host) is not None
        return host if is_whole else host.partition(".")[0]

    def _next(self) -> _Token:
        token = self._tokens[min(self._at, len(self._tokens) - 1)]
        self._at += 1
        return token

    def _line(self, token: _Token) -> None:
        if token.kind == "relative":
            self._settings(HostLine(token.text, is_relative=True, line=token.line), _Node())
            return
        if token.kind not in ("string", "host", "int"):
            raise _Refused(_no_host(token))
        user, at, host = token.text.rpartition("@")
        if "@" in user:
            raise _Refused(f"{token.text[:80]!r}: only one @ is allowed")
        if token.text.startswith("^"):
            name = (host if at else token.text).removeprefix("^")
            self.hosts.append(HostLine(name, is_excluded=True, line=token.line))
            return
        item = HostLine(host, user=user, line=token.line)
        node = self.nodes.setdefault(self.node_name(host), _Node())
        if node.first is None:
            node.first = item
        else:
            node.slots += 1
            node.is_given = True
        self._settings(item, node)

    def _settings(self, item: HostLine, node: _Node) -> None:
        found: dict[str, int] = {}
        user = item.user
        is_new = node.first is item
        while (token := self._next()).kind not in ("newline", "done"):
            if token.kind == "string":
                hint = "known: slots, max_slots, username, port"
                text = f"{token.text[:80]!r} is ignored: expected key=value"
                self.findings.append(Finding(f"line {item.line}", text, hint, is_error=False))
            elif token.text in USER_KEYS:
                self._expect("equal", token)
                user = self._next().text.strip('"')
            elif token.text in SLOTS_KEYS:
                found["slots"] = self._count(token)
                self._give(item, node, found["slots"])
            elif token.text in MAX_SLOTS_KEYS:
                most = found["max_slots"] = self._count(token)
                if most < max(node.slots, 1):
                    raise _Refused(f"max_slots={most} is less than slots={node.slots or 1}")
                node.max_slots = most
            elif token.text in PORT_KEYS:
                found["port"] = self._count(token)
            else:
                raise _Refused(_no_setting(token, self.text, item.line))
        if is_new and not node.is_given:
            node.slots = node.max_slots or 1
        self.hosts.append(
            HostLine(
                item.host,
                found.get("slots"),
                found.get("max_slots"),
                user,
                found.get("port"),
                is_relative=item.is_relative,
                line=item.line,
            )
        )

    def _give(self, item: HostLine, node: _Node, slots: int) -> None:
        if node.is_given:
            first = node.first or item
            if first.line == item.line:
                raise _Refused("slots is given twice")
            if first.host != item.host:
                hint = "mpirun drops the domain: give it orte_keep_fqdn_hostnames (4) or"
                hint += " prte_keep_fqdn_hostnames (5), and the lint --keep-fqdn"
                name = self.node_name(item.host)
                raise _Refused(
                    f"{item.host} and {first.host} (line {first.line}) are one host, {name!r};"
                    f" {hint}"
                )
            raise _Refused(
                f"{item.host} is already in line {first.line}: give a count only in the host's"
                " first line"
            )
        node.slots, node.is_given = slots, True

    def _count(self, key: _Token) -> int:
        self._expect("equal", key)
        token = self._next()
        # As atol() and a C int: more than 31 bits become another number.
        number = int(token.text) if token.kind == "int" and len(token.text) < 19 else -1
        number = (number + 2**31) % 2**32 - 2**31
        if token.kind != "int" or number < 0:
            self._at -= token.kind == "newline"
            raise _Refused(f"{key.text}: expected a number, not {token.text.strip()[:80]!r}")
        if str(number) != token.text.lstrip("0") or not number:
            text = f"{key.text}={token.text[:20]} is read as {number}"
            self.findings.append(Finding(f"line {key.line}", text, is_error=False))
        return number

    def _expect(self, kind: str, key: _Token) -> None:
        token = self._next()
        if token.kind != kind:
            self._at -= token.kind == "newline"
            if token.text == "+":
                raise _Refused(f"{key.text}: += is for --add-hostfile only")
            raise _Refused(f"{key.text}: expected = after it, not {token.text.strip()[:80]!r}")


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        matches = [(kind, match) for kind, rule in _RULES if (match := rule.match(text, at))]
        kind, match = max(matches, key=lambda item: len(item[1][0]))
        found = match[0]
        if kind == "comment":
            # The parser sees a line end at its beginning and at its end.
            found = (_COMMENT.match(text, at) or match)[0]
            yield _Token("newline", "", line)
        elif kind == "string" and found in _KEYS:
            yield _Token("key", found, line)
        elif kind != "white":
            yield _Token(kind, found, line)
        at += len(found)
        line += found.count("\n")
    yield _Token("done", "", line)


def _no_host(token: _Token) -> str:
    if token.text == "\r":
        return "a carriage return (CRLF line end): write the file with Unix line ends"
    return f"{token.text.strip()[:80]!r} is not a host"


def _no_setting(token: _Token, text: str, line: int) -> str:
    if token.text == "\r":
        return _no_host(token)
    whole = text.split("\n")[line - 1].strip()[:80]
    if token.kind == "equal":
        return f"{whole!r}: unknown key; known, in lower case: slots, max_slots, username, port"
    return f"{whole!r}: {token.text[:40]!r} is not key=value"
