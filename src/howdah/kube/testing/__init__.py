"""A fake API server for tests of what is built upon `howdah.kube`."""

from .faults import Fault, Request, fitting
from .permissions import Permissions
from .server import FakeKubernetes
from .store import Store

__all__ = ["FakeKubernetes", "Fault", "Permissions", "Request", "Store", "fitting"]
