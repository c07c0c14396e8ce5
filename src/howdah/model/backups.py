"""Nouns of backups: where they are kept."""

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
