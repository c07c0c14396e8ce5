"""Section `streams`: one object of zalando.org/v1 per application, and the publications and slots that it reads from.

A publication and its logical slot have one name, made of database and application. Entries of one application are one
object, entries of one application and database one slot.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from howdah.core.request.asked import Asked, Json
from howdah.model import names
from howdah.model.cluster import EventStream, StreamLink, Streams
from howdah.model.errors import Problem
from howdah.model.spec import Stream, StreamTable
from howdah.model.units import Quantity

_SLOT = re.compile(r"[a-z0-9_]{1,63}")
_TABLE = re.compile(r"[^.\"\x00]+(\.[^.\"\x00]+)?")
_DEAD_LETTERS = "-dead-letter-queue"


def streams(asked: Asked) -> Streams:
    """What the section asks for, and what live objects lead to that it does not ask for any more."""
    usable = tuple(_usable(asked.spec.streams or ()))
    by_application: dict[str, list[Stream]] = {}
    for stream in usable:
        by_application.setdefault(stream.application_id, []).append(stream)
    known = {live.application: live.name for live in asked.live.event_streams}
    found = tuple(
        EventStream(
            name=known.get(application) or names.event_stream(asked.names.cluster, application),
            application=application,
            amounts=_amounts(entries),
            spec={
                "applicationId": application,
                "eventStreams": [flow for stream in entries for flow in _flows(stream, asked)],
            },
            links=tuple(_links(entries)),
        )
        for application, entries in by_application.items()
    )
    wanted = {link.name for stream in found for link in stream.links}
    live = {name: database for seen in asked.live.event_streams for database, name in seen.links}
    return Streams(
        is_wanted=bool(asked.spec.streams),
        are_served=asked.live.serves_event_streams,
        of_applications=found,
        leaving=tuple(StreamLink(database, name, ()) for name, database in sorted(live.items()) if name not in wanted),
    )


def stream_doubts(asked: Asked) -> Iterator[Problem]:
    """Why entries, or all of them, have no effect; the cluster does without them."""
    written = asked.spec.streams or ()
    if not written:
        return
    if not asked.live.serves_event_streams:
        message = "Kubernetes does not serve FabricEventStream (zalando.org/v1), so nothing streams"
        yield Problem("spec.streams", message, "install its CRD and let the operator see it, or remove the section")
    if asked.is_standby:
        yield Problem("spec.streams", "a standby cluster does not stream", "promote it first")
    elif not asked.settings.enable_database_access:
        message = "the operator may not make publications, as enable_database_access is false"
        yield Problem("spec.streams", message, "make them by hand, or let it connect")
    for index, stream in enumerate(written):
        if (fault := _fault(stream, written[:index])) is not None:
            problem = Problem.of(f"spec.streams[{index}]", ValueError(fault))
            yield Problem(problem.path, problem.message, f"{problem.hint}; this entry is left out")


def _usable(written: Sequence[Stream]) -> Iterator[Stream]:
    for index, stream in enumerate(written):
        if _fault(stream, written[:index]) is None:
            yield stream


def _fault(stream: Stream, before: Iterable[Stream]) -> str | None:
    slot = names.stream_slot(stream.database, stream.application_id)
    if _SLOT.fullmatch(slot) is None:
        return f'"{slot}" cannot name a replication slot; write database and applicationId in small letters, digits, - and _'
    for other in before:
        same = names.stream_slot(other.database, other.application_id) == slot
        if same and (other.database, other.application_id) != (stream.database, stream.application_id):
            said = f'"{other.application_id}" of "{other.database}"'
            return f'would share the replication slot "{slot}" with {said}; choose another applicationId'
    wrong = next((name for name in stream.tables if _TABLE.fullmatch(name) is None), None)
    return None if wrong is None else f'"{wrong}" does not name a table; write table or schema.table'


def _amounts(entries: Iterable[Stream]) -> dict[str, str]:
    """The largest amount that an entry asks for."""
    asked: dict[str, list[Quantity]] = {names.STREAM_CPU: [], names.STREAM_MEMORY: []}
    for stream in entries:
        for key, amount in ((names.STREAM_CPU, stream.cpu), (names.STREAM_MEMORY, stream.memory)):
            asked[key] += [amount] if amount is not None else []
    largest = {key: max(amounts) for key, amounts in asked.items() if amounts}
    return {key: amount.written or str(amount) for key, amount in largest.items()}


def _links(entries: Iterable[Stream]) -> Iterator[StreamLink]:
    tables: dict[str, set[tuple[str, str]]] = {}
    for stream in entries:
        tables.setdefault(stream.database, set()).update(map(_table, stream.tables))
    application = next(iter(entries)).application_id
    for database, found in sorted(tables.items()):
        yield StreamLink(database, names.stream_slot(database, application), tuple(sorted(found)))


def _table(written: str) -> tuple[str, str]:
    """(schema, table)."""
    schema, dot, table = written.partition(".")
    return (schema, table) if dot else ("public", written)


def _flows(stream: Stream, asked: Asked) -> Iterator[Json]:
    for written, table in sorted(stream.tables.items()):
        flow: dict[str, Any] = {"type": "PostgresWalToGenericNakadiEvent"}
        if table.payload_column is not None:
            flow["payloadColumn"] = table.payload_column
        yield {
            "flow": flow,
            "recovery": _recovery(stream, table),
            "sink": _sink(stream, table.event_type),
            "source": _source(stream, written, table, asked),
        }


def _recovery(stream: Stream, table: StreamTable) -> Json:
    event_type = table.recovery_event_type or ""
    if stream.enable_recovery is False or (stream.enable_recovery is None and not event_type):
        return {"type": "None"}
    if table.ignore_recovery:
        return {"type": "Ignore"}
    return {"type": "DeadLetter", "sink": _sink(stream, event_type or f"{table.event_type}{_DEAD_LETTERS}")}


def _sink(stream: Stream, event_type: str) -> Json:
    sink: dict[str, Any] = {"type": "Nakadi", "eventType": event_type}
    return sink if stream.batch_size is None else {**sink, "maxBatchSize": stream.batch_size}


def _source(stream: Stream, written: str, table: StreamTable, asked: Asked) -> Json:
    schema, name = _table(written)
    source: dict[str, Any] = {
        "type": "PostgresLogicalReplication",
        "schema": schema,
        "table": {"name": name} if table.id_column is None else {"name": name, "idColumn": table.id_column},
        "jdbcConnection": _connection(stream, asked),
    }
    if expression := (stream.filter or {}).get(written):
        source["filter"] = expression
    return source


def _connection(stream: Stream, asked: Asked) -> Json:
    cluster, user = asked.names, names.STREAM_USER
    place = f"{cluster.cluster}.{cluster.namespace}/{stream.database}"
    return {
        "jdbcUrl": f"jdbc:postgresql://{place}?user={user}&ssl=true&sslmode=require",
        "slotName": names.stream_slot(stream.database, stream.application_id),
        "pluginType": names.STREAM_PLUGIN,
        "databaseAuthentication": {
            "type": "DatabaseAuthenticationSecret",
            "name": cluster.secret(user),
            "userKey": "username",
            "passwordKey": "password",
        },
    }
