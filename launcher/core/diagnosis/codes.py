"""CANN's error codes: what each means and what to try.

A code is ``E``, one character for the module, and four digits; 9000 to 9999 are internal errors.
Sources: Huawei's "HCCL Errors" reference (EI), CANN's ``ReportPredefinedErrMsg`` and
``ReportInnerErrMsg`` pages (form of a code), and public reports of EJ, EL, EZ and E3 codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from launcher.core.run.events import FailureKind

Meaning = tuple[FailureKind, str, str]
"""Kind, what happened, what to try."""

OOM_TRY = "lower batch_size, or free memory on the node: check what else uses it"
BUSY_TRY = "end other processes that use the device"
TABLE_TRY = "run `effnet-launch ranktable lint` on it"
DEVICE_TRY = "check the device: `npu-smi info`, `effnet-launch doctor`"
LINES_TRY = "see the lines below the code"
PORT_TRY = "end the process that holds the port, or set HCCL_IF_BASE_PORT to another range"

CODE = re.compile(r"\b(EI00[0-9]{2})\b|\b(E[A-Z1-9][0-9]{4})(?=:)")

CODES: Mapping[str, Meaning] = {
    "EI0001": (
        FailureKind.CONFIG,
        "an HCCL environment variable is wrong",
        "correct the variable that the message names",
    ),
    "EI0002": (
        FailureKind.HANG,
        "it waited too long for a peer in a collective operation",
        "check the peer that the message names: it was slow, hung or gone",
    ),
    "EI0003": (FailureKind.CONFIG, "a collective operation got a wrong argument", ""),
    "EI0004": (FailureKind.CONFIG, "HCCL refuses the rank table", TABLE_TRY),
    "EI0005": (
        FailureKind.CONFIG,
        "the ranks called a collective operation with different arguments",
        "check that all ranks run the same code and configuration",
    ),
    "EI0006": (
        FailureKind.NODE,
        "it could not connect to a peer's device in time",
        "check that the peer lives, the devices' network (hccn_tool -netdetect) and TLS settings",
    ),
    "EI0007": (
        FailureKind.DEVICE,
        "the device has no free resource of the kind that HCCL needs",
        BUSY_TRY,
    ),
    "EI0008": (
        FailureKind.CONFIG,
        "the nodes have different versions of CANN or HCCL",
        "install the same version on every node",
    ),
    "EI0009": (
        FailureKind.DEVICE,
        "the device's network could not be set up",
        "check `hccn_tool -i N -link -g` and the device_ip",
    ),
    "EI0010": (FailureKind.DEVICE, "devices of one node can't reach each other", ""),
    "EI0011": (FailureKind.OOM, "the device has too little memory for HCCL", OOM_TRY),
    "EI0012": (FailureKind.DEVICE, "copying between devices failed (SDMA)", ""),
    "EI0013": (
        FailureKind.NODE,
        "the connection to a peer's device broke (RoCE)",
        "check whether the peer failed first, then check the devices' network",
    ),
    "EI0014": (
        FailureKind.CONFIG,
        "the rank table does not fit the devices, or has another version than the chip needs",
        TABLE_TRY,
    ),
    "EI0015": (
        FailureKind.NODE,
        "the ranks did not find each other in time",
        "find the rank that did not start",
    ),
    "EI0016": (FailureKind.CONFIG, "HCCL refuses its configuration", ""),
    "EI0017": (FailureKind.CONFIG, "HCCL refuses the rank table", ""),
    "EI0018": (FailureKind.DEVICE, "an operation between devices failed (UB)", ""),
    "EI0019": (FailureKind.LAUNCH, "a port that HCCL needs is taken", PORT_TRY),
    "EI0020": (FailureKind.LAUNCH, "a port that HCCL needs is taken", PORT_TRY),
    "EJ0001": (
        FailureKind.DEVICE,
        "HCCP, which connects the devices, did not start: an earlier process may still hold them",
        "end processes of earlier runs: `effnet-launch clean`",
    ),
    "EJ0003": (FailureKind.LAUNCH, "a port that HCCL needs is taken", PORT_TRY),
    "EL0004": (FailureKind.OOM, "the device is out of memory", OOM_TRY),
    "EL0005": (FailureKind.DEVICE, "the device is busy", BUSY_TRY),
    "EE1002": (
        FailureKind.HANG,
        "the device did not finish its work in time (stream synchronization)",
        "check the other ranks first: a collective operation waits for all of them",
    ),
}

PEER_CODES = frozenset({"EI0002", "EI0006", "EI0013", "EI0015", "EE1002"})
"""Codes of a rank that waits for a peer: usually a consequence of another rank's failure."""

_MODULES: Mapping[str, Meaning] = {
    "1": (FailureKind.CRASH, "the graph engine failed", ""),
    "2": (FailureKind.CRASH, "the fusion engine failed", ""),
    "3": (FailureKind.DEVICE, "the device's task scheduler reported a fault", DEVICE_TRY),
    "E": (FailureKind.DEVICE, "CANN's runtime failed", LINES_TRY),
    "H": (FailureKind.CRASH, "a call to AscendCL failed", ""),
    "I": (FailureKind.DEVICE, "HCCL failed", LINES_TRY),
    "J": (FailureKind.DEVICE, "HCCP, which connects the devices, failed", ""),
    "L": (FailureKind.DEVICE, "the device's driver reported an error", DEVICE_TRY),
    "Z": (FailureKind.CRASH, "an operator failed on the device", LINES_TRY),
}
_OTHER: Meaning = (FailureKind.CRASH, "CANN reported an error", LINES_TRY)
_PREFIX = re.compile(r"^:?\s*(E\w{5}:?\s*)?(\[PID: ?\d+\])?\s*([-0-9:. ]{10,})?")


def meaning_of(code: str, text: str) -> Meaning:
    """The meaning of a code; ``text`` is what follows it, for codes that are not in the table."""
    if known := CODES.get(code):
        kind, meaning, try_next = known
        return kind, f"{meaning} ({code})", try_next
    kind, meaning, try_next = _MODULES.get(code[1], _OTHER)
    detail = _PREFIX.sub("", text).strip()[:200]
    return kind, f"{meaning} ({code}{': ' + detail if detail else ''})", try_next
