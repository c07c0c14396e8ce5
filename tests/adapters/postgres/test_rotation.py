"""Rotation by whole operators: a real PostgreSQL, an API server, and death between any two of their effects."""

import asyncio
import base64
import datetime as dt
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import psycopg
import pytest

from adapters.controller.rig import LABELS, NAME, NAMESPACE, Rig, rig
from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.servers import PASSWORD, SUPERUSER, Server, start_replica
from howdah.adapters import postgres
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.connect import find_login
from howdah.cli.operator_settings import OperatorSettings
from howdah.controller.passes import PassResult
from howdah.core.plan import ChangeSecret
from howdah.kube.resources import CONFIGMAPS, PODS, SECRETS
from howdah.kube.testing import FakeKubernetes, Fault, fitting
from howdah.kube.testing.store import Writer
from howdah.model.settings import settings_from_configmap
from steady import HANGS_S

pytestmark = only(max(MAJORS))
NOTE = "made by the postgres operator: rotated user of app"
PAST = "2020-01-01T00:00:00Z"
TODAY = dt.datetime.now(dt.UTC)


class Died(Exception):  # noqa: N818 - what happens, not an error
    """The operator is killed."""


@dataclass
class Life:
    """How many effects an operator lives for."""

    left: int = 1_000_000

    def spend(self) -> None:
        """One effect has been had."""
        self.left -= 1
        if self.left < 0:
            raise Died


@dataclass
class AtPort:
    """The server that the pods' address leads to; statements are sent one by one, so that death fits between them."""

    server: Server
    life: Life
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Other addresses that pods may have, and the ports that these lead to."""

    async def observe(self, target, interest):
        return await postgres.observe(self._here(target), interest)

    async def sessions(self, target, roles):
        return await postgres.sessions(self._here(target), roles)

    async def apply(self, target, statements, passwords, *, method, permit):
        if self.life.left > 1000:  # it does not die here
            return await postgres.apply(self._here(target), statements, passwords, method=method, permit=permit)
        outcomes = []
        for statement in statements:
            outcomes.append(
                await postgres.apply(self._here(target), [statement], passwords, method=method, permit=permit)
            )
            self.life.spend()
        return postgres.Outcome(
            tuple(s for outcome in outcomes for s in outcome.done),
            tuple(f for outcome in outcomes for f in outcome.failed),
        )

    def _here(self, target):
        port = self.replicas.get(target.host, self.server.port)
        return replace(target, host="127.0.0.1", port=port, system_identifier=None)


def secret_name(user: str) -> str:
    return f"{user.replace('_', '-')}.{NAME}.credentials.postgresql.acid.zalan.do"


def seed_secret(kube: FakeKubernetes, user: str, password: str, **more: str) -> None:
    texts = {"username": user, "password": password} | more
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    metadata = {"name": secret_name(user), "namespace": NAMESPACE, "labels": {**LABELS, "team": "acid"}}
    kube.store.seed(SECRETS, {"metadata": metadata, "data": data})


def secret(kube: FakeKubernetes, user: str = "app") -> dict[str, str]:
    data = kube.store.read(SECRETS, NAMESPACE, secret_name(user))["data"]
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def edit_secret(kube: FakeKubernetes, user: str = "app", **texts: str) -> None:
    def merged(live):
        return {**live, "data": live["data"] | {k: base64.b64encode(v.encode()).decode() for k, v in texts.items()}}

    kube.store.patch(SECRETS, (NAMESPACE, secret_name(user)), merged, Writer("somebody"))


@asynccontextmanager
async def operator(
    server: Server,
    world: FakeKubernetes | None = None,
    life: Life | None = None,
    replicas: Mapping[str, int] | None = None,
    at: AtPort | None = None,
    **options: str,
):
    """An operator with database access; without a `world` it gets one of its own. `at`: a server with a mind of its own."""
    ours = life or Life()
    asked = {"enable_database_access": "true", **options}
    async with rig(options=asked, world=world, server=at or AtPort(server, ours, replicas or {})) as made:
        told = made.applier._told  # the process notes each step here

        def spent(target, step, error):
            told(target, step, error)
            if isinstance(step, ChangeSecret):
                ours.spend()

        made.applier._told = spent
        yield made


async def looked() -> None:
    """Wait until nobody reads databases any more."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("databases ")]
    await asyncio.gather(*tasks, return_exceptions=True)


async def a_pass(operator: Rig) -> PassResult:
    """One pass and the look that it starts. The leader is alive: somebody has to renew its lock."""
    lock = operator.find(CONFIGMAPS, f"{NAME}-leader")
    if lock is not None:
        annotations = lock["metadata"]["annotations"] | {"renewTime": dt.datetime.now(dt.UTC).isoformat()}
        operator.change(CONFIGMAPS, f"{NAME}-leader", {"metadata": {**lock["metadata"], "annotations": annotations}})
    result = await operator.one_pass()
    await looked()
    return result


async def settle(operator: Rig, most: int = 40) -> None:
    """Passes until two in a row find nothing to do."""
    quiet = 0
    for _ in range(most):
        before = (len(operator.writes()), len(operator.told))
        await a_pass(operator)
        quiet = quiet + 1 if (len(operator.writes()), len(operator.told)) == before else 0
        if quiet == 3:
            return
    raise AssertionError(f"still at work: {operator.told[-1]}")


def system(kube: FakeKubernetes, server: Server) -> None:
    """The system's Secrets, which the roles agree with."""
    seed_secret(kube, SUPERUSER, PASSWORD)
    seed_secret(kube, "standby", "of standby")
    server.sql("ALTER ROLE standby PASSWORD 'of standby'")


async def begin(operator: Rig, server: Server, **spec) -> None:
    """A running cluster whose roles are in place, with Secrets made by hand unless there are some."""
    system(operator.kube, server)
    if operator.find(SECRETS, secret_name("app")) is None:
        seed_secret(operator.kube, "app", "first of app")
    operator.create(**{"users": {"app": []}, **spec})
    await operator.passes()
    operator.populate()
    await settle(operator)


def accepts(server: Server, held: dict[str, str]) -> bool:
    """Whether the login that a Secret says works."""
    try:
        server.session(user=held["username"], password=held["password"]).close()
    except psycopg.OperationalError:
        return False
    return True


def change(operator: Rig, **spec) -> None:
    live = operator.read(POSTGRESQLS)
    operator.change(POSTGRESQLS, NAME, {"spec": {**live["spec"], **spec}})


@pytest.fixture
async def rotated(server: Server) -> AsyncIterator[Rig]:
    """A cluster whose user `app` is given a new login at each rotation."""
    async with operator(server) as made:
        await begin(made, server, usersWithSecretRotation=["app"])
        yield made


async def test_the_next_rotation_is_set_and_nothing_else_happens(rotated: Rig, server: Server) -> None:
    held = secret(rotated.kube)
    assert (held["username"], held["password"]) == ("app", "first of app")
    left = dt.datetime.fromisoformat(held["nextRotation"]) - TODAY
    assert dt.timedelta(days=89) < left < dt.timedelta(days=91)
    assert held["nextRotation"].endswith("Z")


async def test_a_quiet_cluster_looks_again_at_the_next_rotation_and_is_not_progressing(rotated: Rig) -> None:
    edit_secret(rotated.kube, nextRotation=(dt.datetime.now(dt.UTC) + dt.timedelta(hours=5)).isoformat())
    await settle(rotated)
    result = await a_pass(rotated)
    assert 4.9 * 3600 < (result.again_in_s or 0) <= 5 * 3600 + 2
    assert rotated.condition("Progressing")[:2] == ("False", "Settled")
    assert rotated.status["PostgresClusterStatus"] == "Running"


async def test_a_rotation_gives_a_dated_login_that_can_do_what_the_user_can(rotated: Rig, server: Server) -> None:
    server.sql("ALTER ROLE app SET work_mem TO '7MB'; ALTER ROLE app IN DATABASE postgres SET statement_timeout TO 77")
    server.sql('ALTER ROLE app SET search_path TO shop, "$user"')
    edit_secret(rotated.kube, nextRotation=PAST)
    rotated.forget()
    await settle(rotated)
    held = secret(rotated.kube)
    login = held["username"]
    assert login == f"app{TODAY:%y%m%d}"
    assert len(held["password"]) == 64
    assert set(held) == {"username", "password", "nextRotation"}, "nothing of the change under way is left"
    with server.session(user=login, password=held["password"]) as session:
        assert session.execute("SELECT pg_has_role(session_user, 'app', 'MEMBER')").fetchone() == (True,)
        assert session.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert session.execute("SHOW search_path").fetchone() == ('shop, "$user"',)
        assert session.execute("SHOW statement_timeout").fetchone() == ("77ms",)
    assert accepts(server, {"username": "app", "password": "first of app"}), "who has the old login goes on"
    assert server.sql(f"SELECT shobj_description(to_regrole('{login}'), 'pg_authid')") == [(NOTE,)]


async def test_a_rotation_of_an_ordinary_user_touches_no_pod(rotated: Rig) -> None:
    before = [rotated.read(PODS, f"{NAME}-{ordinal}") for ordinal in range(3)]
    edit_secret(rotated.kube, nextRotation=PAST)
    rotated.forget()
    await settle(rotated)
    assert [rotated.read(PODS, f"{NAME}-{ordinal}") for ordinal in range(3)] == before
    kinds = {request.resource for request in rotated.writes()}
    assert kinds <= {"secrets", "postgresqls/status"}, kinds


async def test_no_step_of_a_rotation_holds_a_password(rotated: Rig) -> None:
    edit_secret(rotated.kube, nextRotation=PAST)
    rotated.forget()
    await settle(rotated)
    told = repr(rotated.told)
    assert "ChangeSecret" in told
    assert secret(rotated.kube)["password"] not in told


async def test_in_place_the_login_stays_and_gets_a_new_password(server: Server) -> None:
    async with operator(server) as made:
        await begin(made, server, usersWithInPlaceSecretRotation=["app"])
        edit_secret(made.kube, nextRotation=PAST)
        await settle(made)
        held = secret(made.kube)
        assert held["username"] == "app"
        assert held["password"] != "first of app"
        assert accepts(server, held)
        assert not accepts(server, {"username": "app", "password": "first of app"})
        assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^app'") == [(1,)]


async def test_rotation_switched_off_gives_the_user_its_own_login_back(rotated: Rig, server: Server) -> None:
    edit_secret(rotated.kube, nextRotation=PAST)
    await settle(rotated)
    dated = secret(rotated.kube)
    change(rotated, usersWithSecretRotation=[])
    await settle(rotated)
    held = secret(rotated.kube)
    assert set(held) == {"username", "password"}
    assert held["username"] == "app"
    assert accepts(server, held)
    assert accepts(server, dated), "who has the dated login goes on"


@pytest.mark.parametrize("lists", [{"usersWithSecretRotation": ["app"]}, {"usersWithInPlaceSecretRotation": ["app"]}])
async def test_an_operator_that_dies_after_any_effect_loses_no_login(server: Server, lists) -> None:
    deaths = 0
    for lived in range(12):
        server.reset()
        async with operator(server) as first:
            world = first.kube
            await begin(first, server, **lists)
            edit_secret(world, nextRotation=PAST)
            life = Life(lived)
            async with operator(server, world, life) as second:
                try:
                    await settle(second)
                    died = False
                except Died:
                    died = True
                    deaths += 1
            if "usersWithSecretRotation" in lists:
                assert accepts(server, secret(world)), f"after {lived} effects the Secret's login does not work"
            async with operator(server, world) as third:
                await settle(third)
            held = secret(world)
            assert accepts(server, held), f"killed after {lived} effects"
            assert set(held) == {"username", "password", "nextRotation"}
            assert held["password"] != "first of app"
            assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^app'")[0][0] <= 2
        if not died:
            break
    assert deaths >= 2, "some deaths were in between"


async def test_two_operators_at_once_rotate_once_and_no_moment_is_without_a_login(server: Server) -> None:
    async with operator(server) as one, operator(server, one.kube) as two:
        await begin(one, server, usersWithSecretRotation=["app"])
        edit_secret(one.kube, nextRotation=PAST)
        seen = set()
        for _ in range(12):
            await asyncio.gather(a_pass(one), a_pass(two))
            held = secret(one.kube)
            assert accepts(server, held)
            seen.add((held["username"], held["password"]))
        assert len(seen) == 2, "the first login, and one new one"


async def test_a_stranger_with_the_dated_name_is_not_taken_over(rotated: Rig, server: Server) -> None:
    login = f"app{TODAY:%y%m%d}"
    server.sql(f"CREATE ROLE {login} LOGIN PASSWORD 'of a person'")
    edit_secret(rotated.kube, nextRotation=PAST)
    await settle(rotated)
    assert secret(rotated.kube)["username"] == "app"
    assert accepts(server, {"username": login, "password": "of a person"})


OLD = "app200101"


def old_login(server: Server, note: str | None = NOTE) -> None:
    server.sql(f"CREATE ROLE {OLD} LOGIN PASSWORD 'old' IN ROLE app")
    if note is not None:
        server.sql(f"COMMENT ON ROLE {OLD} IS '{note}'")


def exists(server: Server, name: str) -> bool:
    return bool(server.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"))


async def passes_anew(running: Rig, server: Server, replicas: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """Another operator's, which reads everything again; why it kept roles that shall go."""
    async with operator(server, running.kube, replicas=replicas) as other:
        await settle(other)
        return tuple(one.why for one in other.reconciler._databases._known[NAMESPACE, NAME].look.kept)


async def test_an_old_rotated_login_of_ours_goes_after_its_retention(rotated: Rig, server: Server) -> None:
    old_login(server)
    await passes_anew(rotated, server)
    assert not exists(server, OLD)
    assert exists(server, "app")


@pytest.mark.parametrize("note", [None, "made by a person", "made by the postgres operator"])
async def test_a_login_that_we_cannot_know_as_ours_stays(rotated: Rig, server: Server, note: str | None) -> None:
    old_login(server, note)
    await passes_anew(rotated, server)
    assert accepts(server, {"username": OLD, "password": "old"})


async def test_a_dated_name_of_another_user_is_not_taken_for_a_rotated_login(rotated: Rig, server: Server) -> None:
    server.sql(f"CREATE ROLE app_200101 LOGIN IN ROLE app; COMMENT ON ROLE app_200101 IS '{NOTE}'")
    server.sql(f"CREATE ROLE app209999 LOGIN IN ROLE app; COMMENT ON ROLE app209999 IS '{NOTE}'")
    await passes_anew(rotated, server)
    assert exists(server, "app_200101")
    assert exists(server, "app209999")


async def test_an_old_login_with_an_open_session_stays_until_it_ends(rotated: Rig, server: Server) -> None:
    old_login(server)
    session = server.session(user=OLD, password="old")
    await passes_anew(rotated, server)
    assert accepts(server, {"username": OLD, "password": "old"}), "it is not even locked"
    session.close()
    await passes_anew(rotated, server)
    assert not exists(server, OLD)


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    running = start_replica(server, MAJORS[server.major])
    yield running
    running.stop()


def at(operator: Rig, ordinal: int, address: str) -> None:
    """The pod gets this address."""

    def moved(live):
        return {**live, "status": {**live["status"], "podIP": address}}

    kubelet = Writer("kubelet", subresource="status")
    operator.kube.store.patch(PODS, (NAMESPACE, f"{NAME}-{ordinal}"), moved, kubelet)


async def test_an_old_login_in_use_on_a_replica_alone_stays_until_that_ends(
    rotated: Rig, server: Server, replica: Server
) -> None:
    at(rotated, 1, "127.0.0.2")
    places = {"127.0.0.2": replica.port}
    old_login(server)
    await replayed(server, replica)
    session = replica.session(user=OLD, password="old")
    assert await passes_anew(rotated, server, places) == (f'"{OLD}" has 1 open session on {NAME}-1',)
    assert accepts(server, {"username": OLD, "password": "old"}), "it is not even locked"
    session.close()
    assert await passes_anew(rotated, server, places) == ()
    assert not exists(server, OLD)


async def test_an_old_login_stays_while_a_replica_cannot_be_asked(
    rotated: Rig, server: Server, replica: Server
) -> None:
    for ordinal in (1, 2):
        at(rotated, ordinal, f"127.0.0.{ordinal + 1}")
    places = {"127.0.0.2": replica.port, "127.0.0.3": closed_port()}
    old_login(server)
    (why,) = await passes_anew(rotated, server, places)
    assert why.startswith(f'"{OLD}" may have sessions on {NAME}-2, which is waited for: 127.0.0.1:')
    assert "Connection refused" in why
    assert PASSWORD not in why
    assert accepts(server, {"username": OLD, "password": "old"})
    at(rotated, 2, "")
    assert await passes_anew(rotated, server, places) == (
        f'"{OLD}" may have sessions on {NAME}-2, which is waited for: it has no address yet',
    )
    rotated.kube.store.delete(PODS, (NAMESPACE, f"{NAME}-2"))
    assert await passes_anew(rotated, server, places) == ()
    assert not exists(server, OLD), "a pod that is gone has no sessions"


async def test_replicas_are_asked_only_where_somebody_would_go(rotated: Rig, server: Server, replica: Server) -> None:
    at(rotated, 1, "127.0.0.2")
    before = replica.log().count("pg_stat_activity")
    await passes_anew(rotated, server, {"127.0.0.2": replica.port})
    assert replica.log().count("pg_stat_activity") == before


async def replayed(leader: Server, replica: Server) -> None:
    """Wait until the replica is where the leader is now."""
    ((here,),) = leader.sql("SELECT pg_current_wal_lsn()")
    async with asyncio.timeout(HANGS_S):
        while replica.sql(f"SELECT pg_last_wal_replay_lsn() < '{here}'") != [(False,)]:
            await asyncio.sleep(0.05)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


async def test_an_old_login_that_owns_something_anywhere_stays(rotated: Rig, server: Server) -> None:
    old_login(server)
    server.sql("CREATE DATABASE shop")
    server.sql(f"CREATE TABLE kept (); ALTER TABLE kept OWNER TO {OLD}", "shop")
    why = f'"{OLD}" owns objects or has privileges on some (1 in shop)'
    assert await passes_anew(rotated, server) == (why,)
    assert exists(server, OLD)
    server.sql("DROP TABLE kept", "shop")
    await passes_anew(rotated, server)
    assert not exists(server, OLD)


async def test_a_pass_that_changes_nothing_only_reads_and_each_database_once(server: Server) -> None:
    users = {f"user_{number:03}": [] for number in range(200)}
    names = [f"shop_{number:02}" for number in range(50)]
    options = {
        user: {"memberOf": ["pg_monitor"], "connectionLimit": 9, "parameters": {"work_mem": "5MB"}} for user in users
    }
    spec = {
        "users": users,
        "databases": dict.fromkeys(names[:25], "user_000"),
        "preparedDatabases": {name: {} for name in names[25:]},
        "userOptions": options,
        "databaseOptions": {name: {"connectionLimit": 50} for name in names},
    }
    rotating = {"enable_password_rotation": "true"}
    async with operator(server, **rotating) as made:
        for user in users:
            seed_secret(made.kube, user, f"first of {user}")
        await begin(made, server, **spec)
        assert "nextRotation" in secret(made.kube, "user_001")
        assert "nextRotation" not in secret(made.kube, "user_000"), "an owner"
        offset = len(server.log())
        async with operator(server, made.kube, **rotating) as other:
            await a_pass(other)
            await a_pass(other)
            assert other.told == []
            assert other.reconciler._databases._known[NAMESPACE, NAME].look.is_known
    sent = re.findall(r"howdah\|(\w+)\|LOG: +(?:statement|execute [^:]*):\s+(\w+)", server.log()[offset:])
    assert {word for _, word in sent} == {"SELECT", "WITH"}
    writing = re.findall(
        r"\b(?:INSERT|UPDATE|DELETE|MERGE|ALTER|CREATE|DROP|GRANT|REVOKE|COMMENT)\b", server.log()[offset:]
    )
    assert writing == []
    databases = [database for database, _ in sent]
    # Each connection asks first whether it is the right server.
    assert {name: databases.count(name) for name in databases} == {"postgres": 3, **dict.fromkeys(names[25:], 2)}


async def test_a_login_that_the_reference_has_rotated_is_taken_over_as_it_is(server: Server) -> None:
    server.sql("CREATE ROLE app LOGIN PASSWORD 'zero'; CREATE ROLE app260901 LOGIN PASSWORD 'theirs' IN ROLE app")
    async with operator(server) as made:
        later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=10)).astimezone(dt.timezone(dt.timedelta(hours=2)))
        seed_secret(made.kube, "app", "theirs", username="app260901", nextRotation=later.isoformat(timespec="seconds"))
        before = secret(made.kube)
        await begin(made, server, usersWithSecretRotation=["app"])
        assert secret(made.kube) == before
        assert accepts(server, before)
        assert accepts(server, {"username": "app", "password": "zero"}), "the user keeps the password it had"
        assert server.sql("SELECT shobj_description(to_regrole('app260901'), 'pg_authid')") == [(NOTE,)]


async def test_the_command_line_finds_the_login_of_a_rotated_user(rotated: Rig) -> None:
    configured = OperatorSettings(settings_from_configmap({})[0], NAMESPACE)
    assert await find_login(rotated.client, configured, NAMESPACE, NAME, "app") == ("app", "first of app")
    edit_secret(rotated.kube, nextRotation=PAST)
    await settle(rotated)
    held = secret(rotated.kube)
    assert await find_login(rotated.client, configured, NAMESPACE, NAME, "app") == (held["username"], held["password"])


# --- Secrets in other namespaces -----------------------------------------------------------------------------------

FAR = "apps.svc"
CROSSING = {"enable_cross_namespace_secret": "true"}


def forbid(kube: FakeKubernetes) -> None:
    kube.faults.add(Fault(fitting(resource="secrets", namespace="apps"), 403, "Forbidden", times=10**9))


@pytest.mark.parametrize("is_forbidden", [True, False])
async def test_a_role_whose_secret_is_out_of_reach_waits_and_the_others_do_not(
    server: Server, is_forbidden: bool
) -> None:
    async with operator(server, **CROSSING) as made:
        if is_forbidden:
            forbid(made.kube)
        await begin(made, server, users={"app": [], FAR: []}, databases={"near": "app", "far": FAR})
        assert accepts(server, secret(made.kube))
        assert not exists(server, FAR)
        assert server.sql("SELECT datname FROM pg_database WHERE datname IN ('near', 'far')") == [("near",)]
        assert made.condition("CredentialsInSync")[:2] == ("False", "NoPassword")
        assert FAR in made.condition("CredentialsInSync")[2]
        assert made.condition("Degraded")[1] == "SecretsOutOfReach"
        assert [error for _, error in made.told if error] == []


async def test_the_login_in_use_stays_while_the_secret_that_names_it_may_not_be_read(server: Server) -> None:
    async with operator(server, **CROSSING) as made:
        await begin(made, server)
        server.sql(f'CREATE ROLE "{FAR}" LOGIN; GRANT "{FAR}" TO postgres')
        server.sql(f'CREATE ROLE "{FAR}200101" LOGIN IN ROLE "{FAR}"')
        server.sql(f"COMMENT ON ROLE \"{FAR}200101\" IS '{NOTE.replace('app', FAR)}'")
        forbid(made.kube)
        change(made, users={"app": [], FAR: []}, usersWithSecretRotation=[FAR])
        await settle(made)
        assert exists(server, f"{FAR}200101")
