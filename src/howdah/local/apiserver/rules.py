"""What makes an object invalid: rules that the schemas cannot say, for the kinds and fields that matter here."""

from __future__ import annotations

from .errors import FieldError
from .kinds import Kind
from .objects import Obj
from .store import Store


def create_errors(store: Store, kind: Kind, obj: Obj) -> list[FieldError]:
    """Every reason that forbids a creation."""
    return []


def update_errors(store: Store, kind: Kind, new: Obj, live: Obj, subresource: str) -> list[FieldError]:
    """Every reason that forbids an update."""
    return []
