"""From a profile and what is known at a start to the plan of one attempt."""

from __future__ import annotations

from launcher.core import start_cluster, start_mpirun, start_ranktable
from launcher.core.plan import Plan, RunContext
from launcher.core.profile import Profile, StartMethod

_METHODS = {
    StartMethod.CLUSTER: start_cluster.plan,
    StartMethod.RANKTABLE: start_ranktable.plan,
    StartMethod.MPIRUN: start_mpirun.plan,
}


def make_plan(profile: Profile, context: RunContext) -> Plan:
    """Everything that a start would write and run. Raises PlanError or RankTableError."""
    return _METHODS[profile.start_method](profile, context)
