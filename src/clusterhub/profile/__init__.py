"""Profiles: reads the layers of the config, picks and inherits, validates, and tells where every value came from."""

from __future__ import annotations

from clusterhub.profile.arguments import parse_set
from clusterhub.profile.converting import Converted, Converting, convert_jobqueue
from clusterhub.profile.listing import ProfileInfo, Profiles, profiles
from clusterhub.profile.overrides import Overrides
from clusterhub.profile.resolve import resolve
from clusterhub.profile.resolved import Resolved
from clusterhub.profile.schema import schema
from clusterhub.profile.starter import starter, write_starter
from clusterhub.profile.words import foreign_argument

__all__ = [
    "Converted",
    "Converting",
    "Overrides",
    "ProfileInfo",
    "Profiles",
    "Resolved",
    "convert_jobqueue",
    "foreign_argument",
    "parse_set",
    "profiles",
    "resolve",
    "schema",
    "starter",
    "write_starter",
]
