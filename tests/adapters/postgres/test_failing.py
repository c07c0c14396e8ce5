"""A statement that PostgreSQL refuses, a database that nobody can look into, and statements that take long: what else goes on.

Whole operators and a real PostgreSQL.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from psycopg import sql

from adapters.controller.rig import NAME, Rig
from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import RULES, always
from adapters.postgres.servers import Server
from adapters.postgres.test_rotation import AtPort, Life, a_pass, begin, change, looked, operator
from howdah.adapters.postgres import AuthenticationFailed, apply, observe
from howdah.core.plan import ReplacePod, RunStatements
from howdah.core.postgres.difference import interest
from howdah.core.postgres.manifest import desired_state
from howdah.kube.exec import ExecResult
from howdah.kube.resources import EVENTS, PODS
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.postgres.statements import Kind, Statement
from steady import HANGS_S

pytestmark = only(max(MAJORS))
NO_SUCH = {"extensions": {"no_such": "data"}}


def has_schema(server: Server, database: str) -> bool:
    return server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'data'", database) == [(1,)]


def has_role(server: Server, name: str) -> bool:
    return server.sql(sql.SQL("SELECT 1 FROM pg_roles WHERE rolname = {}").format(sql.Literal(name))) == [(1,)]


async def passes(operator: Rig, count: int) -> list[tuple[str, str, str]]:
    """What condition `Degraded` said after each of as many passes."""
    said = []
    for _ in range(count):
        await a_pass(operator)
        await operator.recorder.flush()
        said.append(operator.condition("Degraded"))
    return said


# --- a statement that is refused ---------------------------------------------------------------------------------------


@pytest.fixture
async def made(server: Server):
    async with operator(server) as found:
        await begin(found, server)
        found.forget()
        yield found


async def test_what_one_database_refuses_keeps_back_no_other_and_no_pod_that_is_to_be_replaced(
    made: Rig, server: Server
) -> None:
    change(made, preparedDatabases={"alpha": {}, "beta": {}})
    await passes(made, 4)
    change(made, preparedDatabases={"alpha": NO_SUCH, "beta": {"schemas": {"data": {}, "more": {}}}})
    metadata = made.read(PODS, f"{NAME}-2")["metadata"]
    marked = {**metadata["annotations"], names.ROLLING_UPDATE_REQUIRED: "true"}
    made.change(PODS, f"{NAME}-2", {"metadata": {**metadata, "annotations": marked}})
    await passes(made, 4)
    assert made.condition("Degraded")[1] == "StepFailed"
    assert server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'more'", "beta") == [(1,)]
    assert made.find(PODS, f"{NAME}-2") is None
    assert any(isinstance(step, ReplacePod) for step, _ in made.told)


async def test_every_database_that_refuses_something_is_named(made: Rig) -> None:
    change(made, preparedDatabases={"alpha": NO_SUCH, "beta": NO_SUCH, "gamma": {}})
    status, reason, message = (await passes(made, 4))[-1]
    assert (status, reason) == ("True", "StepFailed")
    assert message.startswith("database alpha: ")
    assert "; database beta: " in message


async def test_what_fails_for_good_is_said_without_a_break(made: Rig) -> None:
    change(made, preparedDatabases={"alpha": NO_SUCH})
    await passes(made, 3)
    for _ in range(4):
        made.told.clear()
        while not made.told:  # until it may be tried again
            await asyncio.sleep(0.1)
            assert await passes(made, 1) == [made.condition("Degraded")]
            assert made.condition("Degraded")[:2] == ("True", "StepFailed")
        assert {status for status, _, _ in await passes(made, 3)} == {"True"}
    assert ("Normal", "Recovered") not in made.events()
    assert len([e for e in made.kube.store.select(EVENTS, "ns", lambda _: True) if e["reason"] == "StepFailed"]) == 1


async def test_what_was_failing_is_forgotten_when_it_is_asked_for_no_more(made: Rig) -> None:
    change(made, preparedDatabases={"alpha": NO_SUCH})
    await passes(made, 4)
    change(made, preparedDatabases={"alpha": {}})
    await passes(made, 4)
    assert made.condition("Degraded") == ("False", "AsDesired", "")


async def test_a_database_that_cannot_be_made_fails_alone_and_once(made: Rig, server: Server) -> None:
    options = {"alpha": {"template": "no_such_template"}}
    change(made, preparedDatabases={"alpha": {}, "beta": {}}, databaseOptions=options, users={"app": [], "late": []})
    (*_, (_, _, message)) = await passes(made, 4)
    assert message.count("does not exist") == 2  # the reason of the statement, and what the server said
    assert "template" in message
    assert has_schema(server, "beta")
    assert has_role(server, "late")


@dataclass
class Refusing(AtPort):
    """A server that takes the superuser's password everywhere but in database `alpha`."""

    async def apply(self, target, statements, passwords, *, method, permit):
        if any(statement.group == "alpha" for statement in statements):
            raise AuthenticationFailed("postgres", transient=False, message="password authentication failed")
        return await AtPort.apply(self, target, statements, passwords, method=method, permit=permit)


async def test_a_password_that_is_refused_is_set_only_where_that_was_decided(server: Server) -> None:
    """Whoever sets it has to mark the pods first; a plan in which it is not set has marked none."""
    ran = []
    async with operator(server, at=Refusing(server, Life())) as found:
        await begin(found, server)
        found.kube.exec_handler = lambda *asked: ran.append(asked) or ExecResult(0, b"", b"")
        change(found, databases={"alpha": "app"})
        (*_, (status, _, message)) = await passes(found, 3)
    assert (status, ran) == ("True", [])
    assert "password authentication failed" in message


# --- a database that nobody can look into ------------------------------------------------------------------------------


@contextmanager
def rejected(server: Server, database: str) -> Iterator[None]:
    """`pg_hba.conf` lets nobody in."""
    file = server.folder / "data" / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"host {database} all 127.0.0.1/32 reject\n{before}")
    server.sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        file.write_text(before)
        server.sql("SELECT pg_reload_conf()")


def half_drop(server: Server, database: str) -> None:
    with server.session() as session:
        session.execute("SET allow_system_table_mods = on")
        session.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [database])


async def _refuses(target, database: str) -> None:
    """Wait until it does: a server reloads its files a moment later."""
    while database not in (await observe(target, interest(_prepared(database)))).unread:
        await asyncio.sleep(0.05)


def _prepared(*names_: str):
    return desired_state({}, {}, {name: {} for name in names_}, rules=RULES)


async def test_a_database_that_lets_nobody_in_keeps_no_other_from_being_read(server: Server) -> None:
    server.sql("CREATE DATABASE alpha")
    server.sql("CREATE DATABASE beta")
    with rejected(server, "alpha"):
        await _refuses(server.target, "alpha")
        seen = await observe(server.target, interest(_prepared("alpha", "beta")))
    assert set(seen.contents) == {"beta"}
    assert "reject" in seen.unread["alpha"]


async def test_a_half_dropped_database_is_not_connected_with(server: Server) -> None:
    server.sql("CREATE DATABASE alpha")
    half_drop(server, "alpha")
    seen = await observe(server.target, interest(_prepared("alpha")))
    assert (seen.databases["alpha"].is_invalid, seen.contents, seen.unread) == (True, {}, {})


async def test_a_server_that_is_gone_is_no_database_that_cannot_be_read(server: Server) -> None:
    with pytest.raises(ExternalError):
        await observe(_nobody(server), interest(_prepared("alpha")))


def _nobody(server: Server):
    return replace(server.target, port=1)


async def test_while_one_database_lets_nobody_in_everything_else_is_managed_and_it_is_said(
    made: Rig, server: Server
) -> None:
    change(made, preparedDatabases={"alpha": {}})
    await passes(made, 4)
    with rejected(server, "alpha"):
        await _refuses(server.target, "alpha")
        change(made, preparedDatabases={"alpha": {}, "beta": {}}, users={"app": [], "late": []})
        (*_, (status, reason, message)) = await passes(made, 4)
        assert has_role(server, "late")
        assert has_schema(server, "beta")
        assert (status, reason) == ("True", "DatabasesUnread")
        assert message.startswith('database "alpha" cannot be looked into: ')


# --- statements that take long -----------------------------------------------------------------------------------------


async def test_what_may_take_long_is_given_the_time_and_nothing_else_is(server: Server) -> None:
    target = _hasty(server)
    slow = Statement(Kind.CREATE_EXTENSION, "app", "postgres", sql.SQL("SELECT pg_sleep(1)").format(), "slow")
    other = Statement(Kind.ALTER_ROLE, "app", "postgres", sql.SQL("SELECT pg_sleep(1)").format(), "other")
    outcome = await apply(target, [slow, other], {}, permit=always)
    assert outcome.done == (slow,)
    assert ["statement timeout" in failure.error.message for failure in outcome.failed] == [True]


def _hasty(server: Server):
    return replace(server.target, statement_timeout_s=0.3, session_timeout_s=0.6)


@dataclass
class Busy(AtPort):
    """A server that copies database `alpha` for as long as a test likes."""

    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    error: ExternalError | None = None

    async def apply(self, target, statements, passwords, *, method, permit):
        if any(statement.group == "alpha" for statement in statements):
            self.begun += 1
            await self.may_end.wait()
            if self.error is not None:
                raise self.error
        return await AtPort.apply(self, target, statements, passwords, method=method, permit=permit)


@pytest.fixture
async def busy(server: Server):
    """A running cluster, and its server that is about to be asked for database `alpha` and others."""
    there = Busy(server, Life())
    async with operator(server, at=there) as found:
        await begin(found, server)
        found.applier._databases.patience_s = 0.2
        change(found, databases={"alpha": "app", "beta": "app"}, preparedDatabases={"gamma": {}})
        yield found, there
        there.may_end.set()


async def a_pass_beside(operator: Rig) -> None:
    """A pass, the look that it starts, and what it begins, but for the statements of `alpha`."""
    await operator.one_pass()
    await ended(but="alpha")
    await looked()
    await operator.recorder.flush()


async def test_a_pass_waits_only_a_moment_and_everything_else_goes_on_meanwhile(busy, server: Server) -> None:
    found, there = busy
    for _ in range(2):
        await a_pass_beside(found)
    assert there.begun == 1
    metadata = found.read(PODS, f"{NAME}-2")["metadata"]
    marked = {**metadata["annotations"], names.ROLLING_UPDATE_REQUIRED: "true"}
    found.change(PODS, f"{NAME}-2", {"metadata": {**metadata, "annotations": marked}})
    change(found, users={"app": [], "late": []})
    for _ in range(6):
        await a_pass_beside(found)
    assert (has_role(server, "late"), has_schema(server, "gamma")) == (True, True)
    assert found.find(PODS, f"{NAME}-2") is None
    assert there.begun == 1
    assert found.status["PostgresClusterStatus"] == "Updating"


async def test_who_waits_for_slow_statements_says_so_and_then_settles(busy, server: Server) -> None:
    found, there = busy
    said = ("True", "Waiting", "statements for database alpha take their time")
    async with asyncio.timeout(HANGS_S):
        while found.condition("Progressing") != said:  # what is waited for is not written at every pass
            await a_pass_beside(found)
            await asyncio.sleep(0.2)
    there.may_end.set()
    await ended()
    async with asyncio.timeout(HANGS_S):
        while found.status["PostgresClusterStatus"] != "Running":  # further statements take their time, too
            await passes(found, 1)
    assert server.sql("SELECT 1 FROM pg_database WHERE datname = 'alpha'") == [(1,)]


async def test_slow_statements_that_fail_are_told_and_not_begun_again_at_once(busy) -> None:
    found, there = busy
    there.error = ExternalError("postgres", transient=False, message="the disk is full")
    for _ in range(3):
        await a_pass_beside(found)
    there.may_end.set()
    await ended()
    said = [one for _ in range(3) for one in await passes(found, 1)]
    assert said == [("True", "StepFailed", "database alpha: postgres: the disk is full")] * 3
    assert there.begun == 1
    assert [step.database for step, error in found.told if isinstance(step, RunStatements) and error] == ["alpha"]


async def test_statements_end_with_the_leader_that_they_are_run_on(busy) -> None:
    found, _ = busy
    for _ in range(2):
        await a_pass_beside(found)
    (task,) = running("alpha")
    metadata = found.read(PODS, f"{NAME}-0")["metadata"]
    found.kube.store.delete(PODS, ("ns", f"{NAME}-0"))
    found.pod(0)
    assert found.read(PODS, f"{NAME}-0")["metadata"]["uid"] != metadata["uid"]
    await a_pass_beside(found)
    await asyncio.wait((task,), timeout=5)
    assert task.cancelled()


def running(database: str = "", *, but: str = "-") -> list[asyncio.Task[object]]:
    named = [(task.get_name(), task) for task in asyncio.all_tasks() if task.get_name().startswith("statements ")]
    return [task for name, task in named if name.endswith(database) and not name.endswith(f" {but}")]


async def ended(*, but: str = "-") -> None:
    await asyncio.gather(*running(but=but), return_exceptions=True)
    await asyncio.sleep(0)
