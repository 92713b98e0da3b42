"""The functions that users call: a profile's name in, a cluster (or what is known of one to be) out."""

from clusterhub.api.attaching import attach, clusters
from clusterhub.api.checking import CheckReport, Step, check
from clusterhub.api.connecting import connect, plan, prepare
from clusterhub.profile import profiles

__all__ = ["CheckReport", "Step", "attach", "check", "clusters", "connect", "plan", "prepare", "profiles"]
