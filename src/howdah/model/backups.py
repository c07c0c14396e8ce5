"""Nouns of backups: where they are kept, how they get there, and what a store says of them."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Literal

Provider = Literal["s3", "gcs", "az"]


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """Where dumps go. `container`: the bucket, or Azure's container. `folder`: of one cluster's dumps, no slash around it.

    What is empty is left to the environment, or to the provider's default.
    """

    provider: Provider
    container: str
    folder: str
    region: str = ""
    endpoint: str = ""
    encryption: str = ""
    account: str = ""
    account_key: str = field(default="", repr=False)
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """How an object is cut on its way: `at_once` parts are held in memory and sent, each within `timeout_s`."""

    size_bytes: int
    at_once: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. `written` is by the store's clock: when it was complete, or (Amazon's) when its upload began."""

    size_bytes: int
    written: dt.datetime
