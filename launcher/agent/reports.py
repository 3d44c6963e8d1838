"""The reports of an agent: numbered, journalled, and sent to every supervisor that listens."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from dataclasses import replace

from launcher.core.messages import Report, decode_report
from launcher.core.run.events import Event
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import UnknownKindError, encode
from launcher.ipc.channel import Channel, ChannelClosedError
from launcher.process.log import log_line
from launcher.store.journal import Journal, read_lines


class Reports:
    """Gives each report the next number of its journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last_n = 0
        self._unsaved: deque[Event | Report] = deque()
        self._is_troubled = False
        self._listeners: list[Channel] = []
        """Those who said hello: a new message before the old ones would hide them."""

    def emit(self, report: Event | Report) -> None:
        """Journals a report and sends it to all supervisors that are connected."""
        self._last_n += 1
        numbered = replace(report, n=self._last_n, t=time.time())
        self._unsaved.append(numbered)
        self.save()
        for channel in list(self._listeners):
            self._send(channel, numbered)

    def save(self) -> None:
        """Writes what is not in the journal yet; on a full disk it stays in memory."""
        try:
            while self._unsaved:
                self._journal.append(self._first_unsaved, sync=False)
                self._unsaved.popleft()
        except OSError as error:
            if not self._is_troubled:
                log_line(f"the journal cannot be written: {error}")
            self._is_troubled = True
        else:
            self._is_troubled = False

    def replay(self, channel: Channel, after: int) -> None:
        """Sends the journal from `after` on; from then on new reports too."""
        self.disconnect(channel)
        self._listeners.append(channel)
        reports: list[Event | Report] = []
        for n, line in read_lines(self._journal.path):
            if n > after:
                with contextlib.suppress(Mismatch, UnknownKindError):
                    reports.append(decode_report(line))
        for report in (*reports, *(item for item in self._unsaved if item.n > after)):
            self._send(channel, report)

    def disconnect(self, channel: Channel) -> None:
        self._listeners = [item for item in self._listeners if item is not channel]

    def _first_unsaved(self, n: int) -> str:
        # Nobody else writes while this agent lives: n is the number that it was given.
        return json.dumps(encode(self._unsaved[0]), separators=(",", ":"))

    def _send(self, channel: Channel, report: Event | Report) -> None:
        try:
            channel.send(report)
        except ChannelClosedError:
            self.disconnect(channel)
