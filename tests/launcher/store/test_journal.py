"""A journal with a torn line and with several writers."""

from __future__ import annotations

import json
import threading

from launcher.core.run import events
from launcher.store.event_log import EventLog
from launcher.store.journal import Journal, read_lines


def test_a_journal_repairs_a_torn_line_and_numbers_across_writers(tmp_path):
    path = tmp_path / "events.jsonl"
    first, second = Journal(path), Journal(path)

    def line(n: int) -> str:
        return json.dumps({"n": n})

    assert [first.append(line), second.append(line), first.append(line)] == [1, 2, 3]
    with path.open("ab") as file:
        file.write(b'{"n": 4, "ki')
    assert second.append(line) == 4
    path.open("ab").close()
    assert [n for n, _ in read_lines(path)] == [1, 2, 3, 4]
    first.close()
    second.close()


def test_many_writers_leave_no_gap(tmp_path):
    def write() -> None:
        log = EventLog(tmp_path / "events.jsonl")
        for _ in range(50):
            log.add(events.SupervisorStarted(pid=1))
        log.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [n for n, _ in read_lines(tmp_path / "events.jsonl")]
    assert numbers == list(range(1, 201))
