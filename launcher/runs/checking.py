"""The preflight and the doctor, by the machine that starts the runs of a profile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from launcher.checks import doctor
from launcher.checks.preflight import Preflight
from launcher.core.checks.row import Row
from launcher.core.profile import home
from launcher.core.profile.model import Profile
from launcher.core.run.requests import Settings
from launcher.errors import NodeError
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.node_client import NodePool
from launcher.runs import delegated

OnRow = Callable[[Row], object]
OnText = Callable[[str], object]


def preflight(
    profile: Profile,
    settings: Settings,
    data_path: str,
    nodes: NodePool,
    on_row: OnRow,
    on_fix: OnText | None,
) -> tuple[Row, ...]:
    """Every row. With `on_fix`, what is safe is fixed."""
    if home.is_elsewhere(profile) and (on_fix is None or home.login_node(profile) is not None):
        with contextlib.suppress(NodeError):  # the rows from here give the reason
            return delegated.preflight(profile, settings, data_path, nodes, on_row)
    found = Preflight(profile, nodes, data_path=data_path, settings=settings, on_row=on_row)
    return found.run() if on_fix is None else found.run_with_fixes(on_fix)


def examine(
    profile: Profile | None,
    target: str,
    on_row: OnRow,
    confirm_host: ConfirmHost | None,
    on_fix: OnText,
    *,
    fix: bool,
) -> tuple[Row, ...]:
    """Every row of the doctor; for a profile of Slurm, what its login node finds."""
    if profile is not None and home.login_node(profile) is not None:
        with NodePool(confirm_host) as nodes:
            return delegated.doctor(profile, nodes, on_row)
    return doctor.examine(
        profile, target, on_row=on_row, confirm_host=confirm_host, fix=fix, on_fix=on_fix
    )
