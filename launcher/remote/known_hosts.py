"""known_hosts files as OpenSSH reads them: markers, wildcards, hashed names, many keys of a type.

A line that cannot be read is skipped, as ssh does.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownKeys:
    """The keys of one host: (type, key) pairs, and keys that are revoked."""

    keys: tuple[tuple[str, bytes], ...] = ()
    revoked: frozenset[bytes] = frozenset()


def known_keys(names: Sequence[str], files: Iterable[str | Path]) -> KnownKeys:
    """The keys of a host that has one of the names. Missing files are empty ones."""
    keys: dict[tuple[str, bytes], None] = {}
    revoked = set()
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            text = Path(file).read_text(encoding="utf-8", errors="surrogateescape")
            for marker, patterns, kind, key in filter(None, map(_parts, text.splitlines())):
                if not any(matches(patterns, name) for name in names):
                    continue
                if marker == "@revoked":
                    revoked.add(key)
                elif not marker:
                    keys[kind, key] = None
    return KnownKeys(tuple(keys), frozenset(revoked))


def _parts(line: str) -> tuple[str, str, str, bytes] | None:
    """(marker, patterns, type, key) of a line."""
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return None
    try:
        key = base64.b64decode(words[2], validate=True)
    except ValueError:
        return None
    # The key holds its own type, behind 4 bytes of length.
    size = int.from_bytes(key[:4], "big")
    is_whole = key[4 : 4 + size].decode("ascii", "replace") == words[1]
    return (marker, words[0], words[1], key) if is_whole else None


def matches(patterns: str, name: str) -> bool:
    """Whether a host's name fits a line: names with * and ?, !not, or |1|salt|hash."""
    if patterns.startswith("|1|"):
        try:
            salt, digest = map(base64.b64decode, patterns[3:].split("|", 1))
        except ValueError:
            return False
        found = hmac.new(salt, name.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
        return hmac.compare_digest(found, digest)
    is_found = False
    for pattern in patterns.split(","):
        is_negated = pattern.startswith("!")
        # fnmatch also knows [a-z]; in known_hosts brackets enclose an address.
        escaped = re.sub(r"\[", "[[]", pattern.removeprefix("!"))
        if fnmatch.fnmatchcase(name.lower(), escaped.lower()):
            if is_negated:
                return False
            is_found = True
    return is_found
