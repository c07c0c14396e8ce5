"""Who loses the lead sends no further statement, commits nothing, and ends what the server is at. A real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from psycopg import sql

from adapters.controller.rig import Rig
from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import RULES, missing, passwords, settle
from adapters.postgres.servers import Server
from adapters.postgres.test_failing import a_pass_beside, ended, has_role, running
from adapters.postgres.test_rotation import AtPort, Life, a_pass, begin, change, operator
from howdah.adapters.postgres import Password, apply
from howdah.controller.databases import Databases
from howdah.controller.lead import NotLeading
from howdah.core.postgres.manifest import desired_state
from howdah.model.postgres.desired import PasswordSource
from howdah.model.postgres.statements import Kind, Statement
from steady import HANGS_S

pytestmark = only(max(MAJORS))


@dataclass
class Lead:
    """Lasts for so many questions."""

    left: int

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise NotLeading


def statement(
    text: str, *, also: str | None = None, kind: Kind = Kind.CREATE_ROLE, database: str = "postgres"
) -> Statement:
    both = [sql.SQL(one).format() if one else None for one in (text, also)]  # type: ignore[arg-type]
    assert both[0] is not None
    return replace(Statement(kind, "app", database, both[0], text), also=both[1])


async def test_no_statement_is_sent_after_the_lead_is_lost(server: Server) -> None:
    with pytest.raises(NotLeading):
        await apply(server.target, [statement("CREATE ROLE one"), statement("CREATE ROLE two")], {}, permit=Lead(1))
    assert (has_role(server, "one"), has_role(server, "two")) == (True, False)


async def test_a_transaction_is_not_committed_after_that(server: Server) -> None:
    both = statement("CREATE ROLE one", also="CREATE ROLE two")
    with pytest.raises(NotLeading):
        await apply(server.target, [both], {}, permit=Lead(1))
    assert not has_role(server, "one")
    await apply(server.target, [both], {}, permit=Lead(2))
    assert has_role(server, "two")


class Forfeited(dict[PasswordSource, Password]):
    """The lead is lost between the look into the Secret and the verifier that is made of it."""

    leads = True

    def get(self, source: PasswordSource, default: object = None) -> Password | None:  # type: ignore[override]
        self.leads = False
        return self[source]

    def permit(self) -> None:
        if not self.leads:
            raise NotLeading


def verifier(server: Server) -> object:
    return server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")


@pytest.fixture
async def edited(server: Server) -> Iterator[tuple[list[Statement], Mapping[PasswordSource, Password]]]:
    """What sets a new password."""
    desired = desired_state({"app": ()}, {}, None, rules=RULES)
    await settle(server, desired)
    secrets = passwords(desired, app="another")
    return list(await missing(server, desired, secrets)), secrets


async def test_an_old_password_is_not_set_by_who_lost_the_lead_while_its_verifier_was_made(
    server: Server, edited
) -> None:
    statements, secrets = edited
    before, forfeited = verifier(server), Forfeited(secrets)
    with pytest.raises(NotLeading):
        await apply(server.target, statements, forfeited, permit=forfeited.permit)
    assert verifier(server) == before


async def test_nor_is_it_committed(server: Server, edited) -> None:
    statements, secrets = edited
    before = verifier(server)
    with pytest.raises(NotLeading):
        await apply(server.target, statements, secrets, permit=Lead(1))
    assert verifier(server) == before
    await apply(server.target, statements, secrets, permit=Lead(2))
    assert verifier(server) != before


# --- statements beside the pass ----------------------------------------------------------------------------------------

SLEEP = statement("SELECT pg_sleep(600)", kind=Kind.CREATE_EXTENSION)


@dataclass
class Sleepy(AtPort):
    """A server whose statements for database `alpha` take ten minutes."""

    async def apply(self, target, statements, passwords, *, method, permit):
        if any(one.group == "alpha" for one in statements):
            statements = (SLEEP, *statements)
        return await AtPort.apply(self, target, statements, passwords, method=method, permit=permit)


@pytest.fixture
async def copying(server: Server):
    """An operator whose server is at the statements of database `alpha`."""
    async with operator(server, at=Sleepy(server, Life())) as found:
        await begin(found, server)
        found.applier._databases.patience_s = 0.2
        change(found, databases={"alpha": "app"})
        async with asyncio.timeout(HANGS_S):
            while not sleeping(server):
                await a_pass_beside(found)
        yield found


def sleeping(server: Server) -> int:
    """How many sessions the server is at."""
    ((count,),) = server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    )
    return int(count)


def databases_of(found: Rig) -> Databases:
    return found.applier._databases


async def test_with_the_lead_what_is_being_run_ends_in_the_server_too(copying: Rig, server: Server) -> None:
    tasks = databases_of(copying).end_statements()
    async with asyncio.timeout(HANGS_S):
        await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True]
    assert sleeping(server) == 0
    async with asyncio.timeout(HANGS_S):
        while not sleeping(server):  # who leads again begins it again
            await a_pass_beside(copying)
    assert [error for _, error in copying.told if error] == []
    await databases_of(copying).close()


async def test_an_operator_that_ends_leaves_nothing_running(copying: Rig, server: Server) -> None:
    async with asyncio.timeout(HANGS_S):
        await databases_of(copying).close()
    assert (sleeping(server), running()) == (0, [])


async def test_a_pass_that_waits_for_statements_hears_that_the_lead_is_lost(copying: Rig, server: Server) -> None:
    databases = databases_of(copying)
    await databases.close()
    await ended()
    databases.patience_s = HANGS_S
    waiting = asyncio.create_task(a_pass(copying))
    async with asyncio.timeout(HANGS_S):
        while not sleeping(server):
            await asyncio.sleep(0.05)
            if waiting.done():
                waiting = asyncio.create_task(a_pass(copying))
        copying.leads.append(False)
        databases.end_statements()
        with pytest.raises(NotLeading):
            await waiting
    assert sleeping(server) == 0


async def test_a_failure_by_a_lost_lead_is_not_told_to_the_pass_of_who_leads_again(
    copying: Rig, server: Server
) -> None:
    copying.leads.append(False)
    server.sql(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    )
    await ended()
    assert server.sql("SELECT 1 FROM pg_database WHERE datname = 'alpha'") == []
    copying.leads.append(True)
    async with asyncio.timeout(HANGS_S):
        while not sleeping(server):
            await a_pass_beside(copying)
    await databases_of(copying).close()
