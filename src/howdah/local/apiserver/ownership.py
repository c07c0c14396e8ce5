"""Who owns which field: managedFields kept up to date by every write, and server-side apply built on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .errors import ApiError, FieldError, Subject
from .fields import (
    EMPTY,
    FieldSet,
    Path,
    difference,
    field_set,
    from_fields_v1,
    merged,
    shown_path,
    to_fields_v1,
    with_named_parents,
    without,
    zero,
)
from .kinds import Kind
from .objects import Obj, decode, dig
from .schema import Schema

UPDATE_MANAGERS_MAX = 10
OLD_UPDATES = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Manager:
    """Identity of a managedFields entry. Appliers of any version are one."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """What one manager owns, and since when."""

    fields: FieldSet
    api_version: str
    time: str | None = None


Owners = dict[Manager, Owned]

_STRIPPED_META = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
)
_STRIPPED = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(("f:metadata", f"f:{name}") for name in _STRIPPED_META),
)
_STATUS_RESETS = {
    "": (("f:status",),),
    "status": (
        ("f:spec",),
        ("f:metadata", "f:deletionTimestamp"),
        ("f:metadata", "f:ownerReferences"),
    ),
}


_CUSTOM_STATUS_RESETS = (
    ("f:spec",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "annotations",
            "labels",
            "finalizers",
            "ownerReferences",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        )
    ),
)


def owners_of(obj: Obj) -> Owners | None:
    """The owners that an object names; None where an entry cannot be understood."""
    found: Owners = {}
    for entry in dig(obj, "metadata", "managedFields") or ():
        if not isinstance(entry, dict) or entry.get("operation") not in ("Apply", "Update"):
            return None
        version = entry.get("apiVersion", "")
        manager = Manager(
            entry.get("manager", ""),
            entry["operation"],
            version if entry["operation"] == "Update" else "",
            entry.get("subresource", ""),
        )
        found[manager] = Owned(from_fields_v1(entry.get("fieldsV1") or {}), version, entry.get("time"))
    return found


def entries(owners: Owners) -> list[Obj]:
    """managedFields, in the order of the real server: appliers first, then by time."""
    order = sorted(
        owners.items(), key=lambda item: (item[0].operation, item[1].time or "", item[0].name, item[0].subresource)
    )
    return [_entry(manager, owned) for manager, owned in order]


def _entry(manager: Manager, owned: Owned) -> Obj:
    entry: Obj = {"manager": manager.name, "operation": manager.operation, "apiVersion": owned.api_version}
    if owned.time:
        entry["time"] = owned.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(owned.fields)}
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def _plain(obj: Obj) -> Obj:
    """An object without its managedFields."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _is_reset(obj: Obj) -> bool:
    listed = dig(obj, "metadata", "managedFields")
    return listed is not None and (listed == [] or listed == [{}])


def _ignored(paths: Iterable[Path], kind: Kind, subresource: str) -> FieldSet:
    """Paths that this write may own: no identity, nothing that the (sub)resource does not write."""
    resets = _resets(kind, subresource)
    return frozenset(path for path in paths if path not in _STRIPPED and not any(path[: len(r)] == r for r in resets))


def _written(paths: Iterable[Path], write: Write) -> FieldSet:
    """Paths that this write really writes: the main resource not the status, and so on."""
    resets = _resets(write.kind, write.subresource)
    return frozenset(path for path in paths if not any(path[: len(r)] == r for r in resets))


def _resets(kind: Kind, subresource: str) -> tuple[Path, ...]:
    if not kind.has_status:
        return ()
    if kind.custom is not None and subresource == "status":
        return _CUSTOM_STATUS_RESETS
    return _STATUS_RESETS.get(subresource, ())


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes what, through which door, when."""

    kind: Kind
    manager: str
    now: str
    subresource: str = ""

    @property
    def schema(self) -> Schema:
        return self.kind.schema


def updated(write: Write, live: Obj | None, new: Obj) -> Obj:
    """`tracked`, but an object that cannot be taken apart (and will be found invalid) stays untracked."""
    try:
        return tracked(write, live, new)
    except ApiError:
        return new


def tracked(write: Write, live: Obj | None, new: Obj) -> Obj:
    """The new object with managedFields as an ordinary write leaves them.

    `live` is None for a creation. Whoever changes a field owns it alone; who removes it takes it from all.
    """
    owners = owners_of(new) if not _is_reset(new) else None
    if not owners and live is not None:
        owners = owners_of(live)
    if _is_reset(new) and live is not None:
        return _with_entries(new, {})
    if live is not None and not owners:
        return _with_entries(new, {})  # nobody was tracked so far: nobody is
    before = _plain(live) if live is not None else _empty(write.kind)
    changed = difference(before, _plain(new), write.schema)
    touched = _written(changed.added | changed.modified, write)
    gone = _written(changed.removed, write)
    if not touched and not gone:
        return _with_entries(new, owners or {})
    rest: Owners = {}
    me = Manager(write.manager, "Update", write.kind.api_version, write.subresource)
    for manager, owned in (owners or {}).items():
        left = owned.fields - touched - gone
        if left:
            rest[manager] = replace(owned, fields=left)
    mine = (owners or {}).get(me, Owned(EMPTY, write.kind.api_version))
    fields = _ignored((mine.fields - gone) | touched, write.kind, write.subresource)
    rest.pop(me, None)
    if fields:
        time: str | None = write.now if touched or not mine.time else mine.time
        if write.subresource == "scale":
            time = None  # the real server forgets it there
        rest[me] = Owned(fields, write.kind.api_version, time)
    return _with_entries(new, _capped(rest))


def _empty(kind: Kind) -> Obj:
    identity = {"apiVersion": kind.api_version, "kind": kind.kind}
    if kind.custom is not None:
        return {**identity, "metadata": {}}
    return {**zero(kind.schema), **identity}


def _capped(owners: Owners) -> Owners:
    """At most ten updaters; the oldest are merged into one entry."""
    updaters = [item for item in owners.items() if item[0].operation == "Update"]
    surplus = len(updaters) - UPDATE_MANAGERS_MAX
    if surplus <= 0:
        return owners
    oldest = sorted(updaters, key=lambda item: item[1].time or "")[: surplus + 1]
    rest = {manager: owned for manager, owned in owners.items() if manager not in dict(oldest)}
    version = oldest[-1][1].api_version
    union = frozenset().union(*(owned.fields for _, owned in oldest))
    rest[Manager(OLD_UPDATES, "Update", version)] = Owned(union, version, oldest[-1][1].time)
    return rest


def _with_entries(obj: Obj, owners: Owners) -> Obj:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if owners:
        metadata["managedFields"] = entries(owners)
    return {**obj, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply comes to: the merged object, and who owns what then."""

    obj: Obj
    owners: Owners


def applied(write: Write, live: Obj, config: Obj, *, force: bool) -> Applied:
    """The live object with the applied configuration merged in.

    Fields that this manager applied before and no longer names go, unless somebody else owns them. Raises
    409 where a value of another manager would change, unless forced.
    """
    owners = owners_of(live) or {}
    if not owners and live.get("metadata", {}).get("uid"):
        owners = _before_first_apply(write, live)
    me = Manager(write.manager, "Apply", subresource=write.subresource)
    last = owners.get(me)
    mine = _ignored(field_set(_plain(config), write.schema), write.kind, write.subresource)
    base = _plain(live)
    result = merged(base, _plain(config), write.schema)
    version = write.kind.api_version
    now_owned: Owners = {**owners, me: Owned(mine, version, write.now)}
    named: Owners = {**now_owned, me: Owned(field_set(_plain(config), write.schema), version)}
    result = _pruned(result, write.schema, named, last)
    changed = difference(base, result, write.schema)
    touched = _written(changed.added | changed.modified, write)
    conflicts = {
        manager: common for manager, owned in now_owned.items() if manager != me and (common := owned.fields & touched)
    }
    if conflicts and not force and write.manager == "kubectl":
        conflicts = _unless_last_applied(conflicts, live, write)
    if conflicts and not force:
        raise _conflict(write.kind.subject, conflicts, now_owned)
    gone = _written(changed.removed, write)
    # Where nothing of the object changes, the entry keeps its time, and a new one has none.
    time = write.now if touched or gone else last.time if last else None
    now_owned[me] = Owned(mine, version, time)
    rest: Owners = {}
    for manager, owned in now_owned.items():
        left = owned.fields - gone
        if manager != me:
            left -= touched
        if left:
            rest[manager] = replace(owned, fields=left)
    return Applied(result, rest)


def _before_first_apply(write: Write, live: Obj) -> Owners:
    fields = _ignored(field_set(_plain(live), write.schema), write.kind, write.subresource)
    version = write.kind.api_version
    return {Manager(BEFORE_FIRST_APPLY, "Update", version): Owned(fields, version, write.now)}


def _pruned(result: Obj, schema: Schema, owners: Owners, last: Owned | None) -> Obj:
    """The merged object without what `last` held and nobody holds any more."""
    if last is None or not last.fields:
        return result
    lasts = with_named_parents(last.fields, schema)
    pruned = without(result, schema, lasts) or {}
    whole = with_named_parents(field_set(result, schema), schema)
    held = with_named_parents(frozenset().union(*(owned.fields for owned in owners.values())), schema)
    left = with_named_parents(field_set(pruned, schema), schema)
    pruned = without(result, schema, whole - left - held) or {}
    left = with_named_parents(field_set(pruned, schema), schema)
    return without(result, schema, (whole - left) & lasts) or {}


def _unless_last_applied(conflicts: Mapping[Manager, FieldSet], live: Obj, write: Write) -> dict[Manager, FieldSet]:
    """kubectl moving from client-side to server-side apply owns what its annotation says, where it still is so."""
    text = dig(live, "metadata", "annotations", LAST_APPLIED)
    last = decode(text.encode()) if text else {}
    if not isinstance(last, dict) or last.get("apiVersion") != write.kind.api_version:
        return dict(conflicts)
    changed = difference(last, _plain(live), write.schema)
    still = field_set(last, write.schema) - changed.modified - changed.added - changed.removed
    before = _ignored(still, write.kind, write.subresource)
    return {manager: left for manager, fields in conflicts.items() if (left := fields - before)}


def _conflict(subject: Subject, conflicts: Mapping[Manager, FieldSet], owners: Owners) -> ApiError:
    """409 with one cause per field and its owner."""
    causes = []
    listed: list[tuple[str, list[str]]] = []
    for manager in sorted(conflicts, key=lambda found: found.name):
        who = f'conflict with "{manager.name}"'
        if manager.subresource:
            who += f' with subresource "{manager.subresource}"'
        if manager.operation == "Update":
            who += f" using {owners[manager].api_version}"
        fields = [shown_path(path) for path in sorted(conflicts[manager])]
        causes += [FieldError(name, "", who) for name in fields]
        listed.append((who, fields))
    count = len(causes)
    noun = "conflict" if count == 1 else "conflicts"
    details: Obj = {
        "causes": [{"reason": "FieldManagerConflict", "message": cause.text, "field": cause.field} for cause in causes]
    }
    message = f"Apply failed with {count} {noun}: " + "\n".join(_listed(*found, count=count) for found in listed)
    return ApiError(409, "Conflict", message, details=details)


def _listed(who: str, fields: list[str], *, count: int) -> str:
    if count == 1:
        return f"{who}: {fields[0]}"
    return who.replace("conflict with", "conflicts with", 1) + ":\n- " + "\n- ".join(fields)


def with_owners(obj: Obj, owners: Owners) -> Obj:
    """The object with managedFields written from owners."""
    return _with_entries(obj, owners)
