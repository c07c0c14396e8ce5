"""Who takes over by `howdah switchover`, and what is worth waiting for."""

from dataclasses import replace

import pytest

from howdah.adapters.patroni import RefusedError
from howdah.cli import switchover
from howdah.cli.exits import Failed
from howdah.cli.switchover import candidate_of, waits_for_heartbeat
from unit.core.clusters import leader, lock, pod, situation, three


def seen(*, listed, tags=None):
    found = situation(*three(), leader_lock=lock(failsafe=listed))
    members = {name: replace(member, tags=tags or {}) for name, member in found.members.items()}
    return replace(found, members=members)


def test_a_listed_member_takes_over_at_once():
    assert candidate_of(seen(listed=["acid-a-0", "acid-a-2"]), None) == "acid-a-2"


@pytest.mark.parametrize("to", [None, "acid-a-1"])
def test_a_member_that_only_the_leaders_list_lacks_is_waited_for(to):
    found = seen(listed=["acid-a-0"])
    with pytest.raises(Failed, match="until its next heartbeat"):
        candidate_of(found, to)
    assert waits_for_heartbeat(found, to)


def test_what_no_heartbeat_changes_is_not_waited_for():
    found = seen(listed=["acid-a-0"], tags={"nofailover": True})
    assert not waits_for_heartbeat(found, None)
    assert not waits_for_heartbeat(found, "acid-a-9")


def test_a_standby_that_is_not_synchronous_yet_is_waited_for_but_none_beside_one_that_is():
    found = situation(*three(), dynamic={"synchronous_mode": True})
    with pytest.raises(Failed, match="not a synchronous standby"):
        candidate_of(found, None)
    assert waits_for_heartbeat(found, None)
    assert waits_for_heartbeat(found, "acid-a-1")
    found = situation(*three(), dynamic={"synchronous_mode": True}, synchronous=["acid-a-2"])
    assert candidate_of(found, None) == "acid-a-2"
    assert not waits_for_heartbeat(found, "acid-a-1")


class Refusing:
    """Patroni as it answers while its view of the cluster is another than ours: so many times no, then yes."""

    def __init__(self, status=412, times=1):
        self.status, self.times, self.asked = status, times, []

    async def switch_over(self, cluster, leader, candidate):
        self.asked.append((leader.name, candidate))
        if len(self.asked) <= self.times:
            raise RefusedError("Patroni", status=self.status, message="candidate name does not match with sync_standby")


@pytest.fixture
def ask(monkeypatch):
    """`howdah switchover` on what is seen, one look after the other; the last stays."""

    async def run(members, *looks):
        left = list(looks)

        async def look(*_):
            return left.pop(0) if len(left) > 1 else left[0]

        async def leads(*_):
            return None

        monkeypatch.setattr(switchover, "_situation", look)
        monkeypatch.setattr(switchover, "_until_leads", leads)
        monkeypatch.setattr(switchover, "LOOK_S", 0)
        await switchover._switch_over(None, None, members, ("ns", "acid-a"), None)

    return run


SYNCHRONOUS = {"dynamic": {"synchronous_mode": True}}


async def test_a_standby_that_is_none_any_more_is_chosen_anew(ask):
    members = Refusing()
    looks = (situation(*three(), synchronous=[name], **SYNCHRONOUS) for name in ("acid-a-1", "acid-a-2"))
    await ask(members, *looks)
    assert members.asked == [("acid-a-0", "acid-a-1"), ("acid-a-0", "acid-a-2")]


async def test_what_patroni_may_have_done_is_not_asked_for_again(ask):
    members = Refusing(status=503)
    with pytest.raises(RefusedError):
        await ask(members, situation(*three()))
    assert len(members.asked) == 1


async def test_another_leader_is_left_alone(ask):
    members = Refusing()
    taken = situation(pod(0), leader(1), pod(2), leader_lock=lock("acid-a-1"))
    with pytest.raises(Failed, match="acid-a-1 has taken over from acid-a-0"):
        await ask(members, situation(*three()), taken)
    assert len(members.asked) == 1
