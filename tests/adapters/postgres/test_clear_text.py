"""Where `pg_hba` asks the superuser for the password in clear text: an operator, and a real PostgreSQL with TLS."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.controller.rig import NAME, NAMESPACE, OPTIONS, Rig
from adapters.postgres.conftest import MAJORS
from adapters.postgres.servers import Server, start
from adapters.postgres.test_rotation import a_pass, operator, seed_secret, system
from adapters.postgres.tls import admit, certificate, settings, with_tls
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.look import judge, observe_live
from howdah.controller.observe import utc_now
from howdah.model import names
from howdah.model.settings import settings_from_configmap
from steady import HANGS_S


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Server]:
    able = with_tls(MAJORS)
    server = await asyncio.to_thread(
        start, able[0], MAJORS[able[0]], settings=settings(certificate(tmp_path, "db.example"))
    )
    await asyncio.to_thread(admit, server, "hostssl", "password")
    yield server
    server.stop()


def has_app(server: Server) -> bool:
    return server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'app'") == [(1,)]


async def test_the_condition_names_the_word_and_with_it_roles_are_brought_in_place(asking: Server) -> None:
    async with operator(asking) as made:
        system(made.kube, asking)
        seed_secret(made.kube, "app", "of app")
        made.create(users={"app": []})
        await made.passes()
        made.populate()
        for _ in range(3):
            await a_pass(made)
        status, reason, message = made.condition("Degraded")
        assert (status, reason, has_app(asking)) == ("True", "DatabaseUnreachable", False)
        assert f"{names.CLEAR_TEXT_PASSWORD}=true" in message
        annotate(made)
        async with asyncio.timeout(HANGS_S):
            while not has_app(asking):  # it is tried again after a moment
                await asyncio.sleep(0.1)
                await a_pass(made)
        await a_pass(made)
        assert made.condition("Degraded")[:2] == ("False", "AsDesired")


async def test_a_person_who_asks_for_a_plan_sends_no_password_on_the_operators_word(asking: Server) -> None:
    options = settings_from_configmap({**OPTIONS, "enable_database_access": "true"})[0]
    async with operator(asking) as made:
        system(made.kube, asking)
        made.create()
        await made.passes()
        made.populate()
        annotate(made)
        observed = await observe_live(made.client, options, NAMESPACE, NAME, now=utc_now())
        assert observed is not None
        looked = await judge(made.client, options, NAMESPACE, observed)
    assert names.CLEAR_TEXT_PASSWORD in str(looked.not_compared)


def annotate(made: Rig) -> None:
    metadata = made.read(POSTGRESQLS)["metadata"]
    said = {**(metadata.get("annotations") or {}), names.CLEAR_TEXT_PASSWORD: "true"}
    made.change(POSTGRESQLS, NAME, {"metadata": {**metadata, "annotations": said}})
