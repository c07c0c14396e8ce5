"""When a leader's databases are read anew, and what of it: whole operators and a real PostgreSQL."""

import json

import pytest
import structlog

from adapters.controller.rig import NAME, NAMESPACE, Rig
from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.servers import Server
from adapters.postgres.test_rotation import (
    a_pass,
    begin,
    change,
    edit_secret,
    operator,
    secret_name,
    seed_secret,
    system,
)
from howdah.core.plan import RunStatements
from howdah.kube.resources import PODS, SECRETS

pytestmark = only(max(MAJORS))


@pytest.fixture
async def new(server: Server):
    """An operator and a cluster of which nothing was read yet; its leader has not told its timeline."""
    async with operator(server) as made:
        system(made.kube, server)
        seed_secret(made.kube, "app", "first of app")
        made.create(users={"app": []})
        await made.passes()
        made.populate()
        tells(made, timeline=None)
        made.forget()
        yield made


def tells(operator: Rig, *, timeline: int | None) -> None:
    """What the leader says of itself."""
    pod = operator.read(PODS, f"{NAME}-0")
    heartbeat = json.loads(pod["metadata"]["annotations"]["status"]) | {"timeline": timeline}
    metadata = pod["metadata"] | {"annotations": {"status": json.dumps(heartbeat)}}
    operator.change(PODS, f"{NAME}-0", {"metadata": metadata})


def statements_run(operator: Rig) -> int:
    return sum(isinstance(step, RunStatements) for step, _ in operator.told)


async def test_a_new_leader_that_tells_its_timeline_after_it_was_read_is_not_read_anew(new: Rig, server: Server):
    await a_pass(new)
    tells(new, timeline=1)
    await a_pass(new)
    assert statements_run(new) == 1
    assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'app'") == [(1,)]


async def test_what_was_read_on_another_timeline_is_read_anew_before_anything_is_done(new: Rig):
    tells(new, timeline=1)
    await a_pass(new)
    tells(new, timeline=2)
    await a_pass(new)
    assert statements_run(new) == 0
    await a_pass(new)
    assert statements_run(new) == 1


async def test_secrets_are_read_as_they_were_seen_or_newer_without_waiting_for_the_servers_cache(new: Rig):
    edit_secret(new.kube, password="second of app")
    newest = new.read(SECRETS, secret_name("app"))["metadata"]["resourceVersion"]
    await a_pass(new)
    asked = [r.params for r in new.kube.requests if (r.verb, r.resource) == ("list", "secrets")]
    assert [(p.get("resourceVersion"), p.get("resourceVersionMatch")) for p in asked] == [(newest, "NotOlderThan")]


async def test_a_server_that_has_not_come_as_far_as_what_was_seen_is_asked_for_what_it_has(new: Rig):
    new.kube.fail_next(504, "Timeout", verb="list", resource="secrets")
    await a_pass(new)
    asked = [r.params for r in new.kube.requests if (r.verb, r.resource) == ("list", "secrets")]
    assert [p.get("resourceVersionMatch") for p in asked] == ["NotOlderThan", None]
    await a_pass(new)
    assert statements_run(new) == 1


async def test_what_stays_as_it_is_is_known_of_each_look_and_logged_once_while_it_holds(server: Server):
    server.sql("CREATE ROLE foo_owner LOGIN")
    with structlog.testing.capture_logs() as logged:
        async with operator(server) as made:
            await begin(made, server, preparedDatabases={"foo": {}})
            known = made.reconciler._databases._known[NAMESPACE, NAME]
            (said,) = known.look.unmet
            for role in ("one", "two"):  # another request is another look
                change(made, users={"app": [], role: []})
                for _ in range(3):
                    await a_pass(made)
                assert known.look.unmet == (said,)
            assert lines(logged) == [said]
            server.sql("ALTER ROLE foo_owner NOLOGIN")
            change(made, users={"app": []})
            await a_pass(made)
            assert known.look.unmet == ()
    assert said.startswith('role "foo_owner" was there before the prepared database and logs in')


def lines(logged: list[dict[str, object]]) -> list[object]:
    return [line["what"] for line in logged if line["event"] == "cannot be brought in place"]
