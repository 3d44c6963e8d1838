"""From a profile and what is known at a start to the plan of one attempt."""

from __future__ import annotations

from launcher.core import start_cluster
from launcher.core.plan import Plan, RunContext
from launcher.core.profile import Profile, StartMethod
from launcher.errors import PlanError

_METHODS = {
    StartMethod.CLUSTER: start_cluster.plan,
}


def make_plan(profile: Profile, context: RunContext) -> Plan:
    """Everything that a start would write and run. Raises :class:`PlanError`."""
    method = _METHODS.get(profile.start_method)
    if method is None:
        known = ", ".join(known.value for known in _METHODS)
        raise PlanError(f"start_method {profile.start_method.value} is not there; known: {known}")
    return method(profile, context)
