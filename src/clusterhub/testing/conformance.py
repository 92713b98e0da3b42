"""`BackendConformance`: one class whose tests are the promises of the contract, seen from outside."""

from __future__ import annotations

from clusterhub.testing.attaching import Attaching
from clusterhub.testing.declarations import Declarations
from clusterhub.testing.ends import Ends
from clusterhub.testing.life import Life
from clusterhub.testing.scaling import Scaling


class BackendConformance(Declarations, Life, Scaling, Ends, Attaching):
    """Subclass it in a test module, name the backend, and run pytest.

    ``backend``
        the backend's name, or a profile's.
    ``overrides``
        what every cluster of the suite is made with: options, a small worker.
    ``broken``
        overrides with which no worker can ever start, so that causes can be looked for; None skips that test, loudly.
    ``timeout``
        seconds that anything may take before it counts as never.
    ``another_shape``
        overrides that ask for other workers, for a backend whose clusters live elsewhere and are found again by name.
        There ``backend`` is best a profile, since ``attach(name)`` asks the systems that profiles name.
    ``lose_worker(cluster)``
        ends one worker the hard way. The default kills its process; workers that share ours need another way.
    """
