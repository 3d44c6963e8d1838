"""Devices of a node as its vendor's tool lists them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Holder:
    """A process that uses a device. ``run``: the run of ours that it belongs to."""

    pid: int
    name: str = ""
    user: str = ""
    run: str = ""

    def __str__(self) -> str:
        who = f"process {self.pid}" + (f" ({self.name})" if self.name else "")
        who += f" of {self.user}" if self.user else ""
        return who + (f", run {self.run}" if self.run else "")


@dataclass(frozen=True)
class DeviceSample:
    """A device now, or the memory of a process; ``None`` is not known."""

    used_bytes: int | None = None
    limit_bytes: int | None = None
    use_percent: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None


@dataclass(frozen=True)
class Device:
    """One device; empty: not known. A ``fault`` stops a start, a ``warning`` is only shown."""

    device_id: int
    name: str = ""
    fault: str = ""
    warning: str = ""
    holders: tuple[Holder, ...] = ()
    link: str = ""
    net_health: str = ""
    ip: str = ""
    compute_capability: str = ""
    """Of a GPU, as in ``9.0``."""


@dataclass(frozen=True)
class Devices:
    """``problem`` says why they could not be listed; ``tool`` is what listed them."""

    tool: str
    problem: str = ""
    driver: str = ""
    devices: tuple[Device, ...] = ()
    network_problem: str = ""

    def faults(self) -> list[str]:
        return [f"device {item.device_id}: {item.fault}" for item in self.devices if item.fault]

    @property
    def summary(self) -> str:
        """How many there are of which kind."""
        names = ", ".join(dict.fromkeys(device.name for device in self.devices))
        return f"{len(self.devices)} × {names}"
