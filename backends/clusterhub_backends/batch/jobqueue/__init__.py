"""Existing configs of dask-jobqueue (0.9), read without it: its sections in our words, as far as there are words for them.

``reading`` gives the entries of a section with their places, ``draft`` collects what becomes of them, ``dialect`` is what a batch
system adds, ``conversion`` walks through a section, ``systems`` tells whose a section is.
"""

from clusterhub_backends.batch.jobqueue.conversion import JobqueueConfig
from clusterhub_backends.batch.jobqueue.dialect import Booked, Dialect, Directive
from clusterhub_backends.batch.jobqueue.draft import Draft
from clusterhub_backends.batch.jobqueue.reading import Section

__all__ = ["Booked", "Dialect", "Directive", "Draft", "JobqueueConfig", "Section"]
