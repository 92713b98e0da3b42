"""Clusters whose scheduler runs in a system of its own: what all backends of such systems share, caretaker and watch included."""

from __future__ import annotations

from clusterhub.elsewhere.deployment import ElsewhereDeployment, Fate, Stage, plan_from, uninterrupted
from clusterhub.elsewhere.life import moments

__all__ = ["ElsewhereDeployment", "Fate", "Stage", "moments", "plan_from", "uninterrupted"]
