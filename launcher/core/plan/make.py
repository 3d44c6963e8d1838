"""From a profile and what is known at a start to the plan of one attempt."""

from __future__ import annotations

from launcher.core.plan import cluster, mpirun, ranktable, slurm
from launcher.core.plan.model import Plan, RunContext
from launcher.core.profile.model import Profile, StartMethod

_METHODS = {
    StartMethod.CLUSTER: cluster.plan,
    StartMethod.RANKTABLE: ranktable.plan,
    StartMethod.MPIRUN: mpirun.plan,
    StartMethod.SLURM: slurm.plan,
}


def make_plan(profile: Profile, context: RunContext) -> Plan:
    """Everything that a start would write and run. Raises PlanError or RankTableError."""
    return _METHODS[profile.start_method](profile, context)
