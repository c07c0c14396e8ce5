"""Who loses the lead sends no command any more that waited: for a Secret, for Patroni's answer, for a credential."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.aws.rig import REGION, scripted, temporary
from adapters.controller.rig import Rig, rig
from adapters.controller.test_apply import with_superuser
from howdah.adapters.aws.ec2 import Ec2
from howdah.controller.lead import NotLeading
from howdah.core import plan as p
from howdah.kube.exec import ExecResult

COMMANDS = (
    p.PatchDynamicConfiguration(reason="r", patch={"ttl": 40}),
    p.RestartMember(reason="r", name="acid-a-2", uid="u"),
    p.Switchover(reason="r", leader="acid-a-0", candidate="acid-a-1"),
)
MODIFICATION = p.ModifyVolume(reason="r", claim="pgdata-acid-a-0", volume_id="vol-1", size_gib=20)


@pytest.fixture
async def operator() -> AsyncIterator[Rig]:
    async with rig() as made:
        made.create()
        yield made


@pytest.fixture
def in_pods(operator: Rig) -> list[list[str]]:
    """Commands that were run in pods."""
    run: list[list[str]] = []
    for ordinal in range(3):
        operator.pod(ordinal)

    def answer(_namespace: str, _pod: str, _container: str, argv: list[str], _stdin: bytes) -> ExecResult:
        run.append(argv)
        return ExecResult(0, b"", b"")

    operator.kube.exec_handler = answer
    return run


async def carry_out(operator: Rig, step: p.Step) -> None:
    target = replace(operator.target(), situation=await with_superuser(operator))
    outcome = await operator.applier.carry_out(target, (step,))
    assert outcome.failed is None, outcome.error


@pytest.mark.parametrize("step", COMMANDS, ids=lambda step: type(step).__name__)
async def test_no_command_reaches_patroni_when_the_lead_was_lost_while_its_secret_was_read(
    operator: Rig, step: p.Step
) -> None:
    async def lose(request: Any) -> None:
        if (request.verb, request.resource) == ("get", "secrets"):
            operator.leads.append(False)

    operator.kube.before = lose
    with pytest.raises(NotLeading):
        await carry_out(operator, step)
    assert operator.api.commands == []


@pytest.mark.parametrize("step", COMMANDS, ids=lambda step: type(step).__name__)
async def test_nor_is_it_given_in_the_pod_when_the_lead_was_lost_while_patroni_denied_it(
    operator: Rig, in_pods: list[list[str]], step: p.Step
) -> None:
    def deny() -> int:
        operator.leads.append(False)
        return 401

    operator.api.judge = deny
    with pytest.raises(NotLeading):
        await carry_out(operator, step)
    assert (len(operator.api.commands), in_pods) == (1, [])


async def test_who_leads_gives_it_in_the_pod_where_patroni_denies_it(operator: Rig, in_pods: list[list[str]]) -> None:
    operator.api.judge = lambda: 401
    await carry_out(operator, COMMANDS[1])
    assert in_pods == [["patronictl", "restart", "acid-a", "acid-a-2", "--force", "--pending"]]


async def test_no_volume_is_modified_when_the_lead_was_lost_while_credentials_were_asked_for() -> None:
    async with scripted({"/credentials": (200, temporary())}) as server:
        place = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/credentials", "AWS_ENDPOINT_URL": server.url}
        async with rig(cloud=Ec2(REGION, place)) as operator:
            operator.create()
            server.when_asked = lambda: operator.leads.append(False)
            with pytest.raises(NotLeading):
                await carry_out(operator, MODIFICATION)
        assert [path for _, path, *_ in server.seen] == ["/credentials"]
