"""The product, broken on purpose, so that the checks of fault tests are seen to fail.

A folder for PYTHONPATH. In a supervisor: a wrong rank is blamed, the second epoch's event is lost,
and a copied log has a line twice and the one before it not at all. In a node agent: processes in
sessions of their own are not seen, and one record of rank 2's metrics is lost.
"""

import dataclasses
import sys


def break_supervisor():
    from launcher.core.run import events
    from launcher.remote import sync
    from launcher.store import event_log
    from launcher.supervisor import verdict

    name_failure, add, take = (
        verdict.name_failure,
        event_log.EventLog.add,
        sync.FileCopy.write_chunk,
    )

    def name_wrong(*given):
        return dataclasses.replace(name_failure(*given), rank=0, node="alpha")

    def add_most(self, event, *arguments, **options):
        if not (isinstance(event, events.EpochFinished) and event.epoch == 2):
            add(self, event, *arguments, **options)

    def take_wrong(self, message):
        if message.get("name") == "ranks/0003/log.txt":
            data = message["data"].replace(b"\nplain 7\n", b"\nplain 8\n")
            message = {**message, "data": data}
        take(self, message)

    verdict.name_failure = name_wrong
    event_log.EventLog.add = add_most
    sync.FileCopy.write_chunk = take_wrong


def break_agent():
    from launcher.process import ownership
    from launcher.store import record_file

    owned, open_file, append = (
        ownership.owned,
        record_file.RecordFile.__init__,
        record_file.RecordFile.append,
    )
    seen = []

    def blind(claim):
        sessions = dict(claim.sessions)
        return [process for process in owned(claim) if process.session in sessions]

    def remember(self, path, record_bytes):
        open_file(self, path, record_bytes)
        self.is_broken = str(path).endswith("ranks/0002/metrics.bin")

    def append_most(self, data):
        if self.is_broken:
            seen.append(data)
        if not self.is_broken or len(seen) != 5:
            append(self, data)

    ownership.owned = blind
    record_file.RecordFile.__init__ = remember
    record_file.RecordFile.append = append_most


if "launcher.supervisor" in sys.orig_argv:
    break_supervisor()
if "launcher.agent" in sys.orig_argv:
    break_agent()
