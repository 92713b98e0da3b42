"""The conformance suite: what a backend passes to be called one. It needs pytest and nothing else.

In a plugin's tests::

    from clusterhub.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        backend = "mine"
"""

from clusterhub.testing.conformance import BackendConformance

__all__ = ["BackendConformance"]
