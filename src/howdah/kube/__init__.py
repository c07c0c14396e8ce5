"""A Kubernetes client layer of its own: imports nothing of howdah.

`load_access` finds the cluster, `Client` has the verbs, `Informer` keeps a local copy of a collection, `WorkQueue` decides who
works on what when, `LeaderElection` who leads, `EventRecorder` tells people.
"""

from .client import Client, Listing, Object
from .credentials import Access, load_access
from .election import LeaderElection
from .errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    CredentialError,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    Malformed,
    NotFound,
    ServerUnavailable,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from .events import EventRecorder, Reference
from .exec import ExecError, ExecResult
from .informer import Informer, Key, ObjectMetadata, PartialObject
from .lease import LeaseTimes
from .queue import WorkQueue
from .resources import Resource, custom_resource

__all__ = [
    "Access",
    "AlreadyExists",
    "ApiError",
    "Client",
    "Conflict",
    "CredentialError",
    "EventRecorder",
    "ExecError",
    "ExecResult",
    "Forbidden",
    "Gone",
    "Informer",
    "Invalid",
    "Key",
    "KubeError",
    "LeaderElection",
    "LeaseTimes",
    "Listing",
    "Malformed",
    "NotFound",
    "Object",
    "ObjectMetadata",
    "PartialObject",
    "Reference",
    "Resource",
    "ServerUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "WorkQueue",
    "custom_resource",
    "load_access",
]
