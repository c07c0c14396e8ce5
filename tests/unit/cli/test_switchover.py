"""Who takes over by `howdah switchover`, and what is worth waiting for."""

from dataclasses import replace

import pytest

from howdah.cli.exits import Failed
from howdah.cli.switchover import candidate_of, waits_for_heartbeat
from unit.core.clusters import lock, situation, three


def seen(*, listed, tags=None):
    found = situation(*three(), leader_lock=lock(failsafe=listed))
    members = {name: replace(member, tags=tags or {}) for name, member in found.members.items()}
    return replace(found, members=members)


def test_a_listed_member_takes_over_at_once():
    assert candidate_of(seen(listed=["acid-a-0", "acid-a-2"]), "acid-a-0", None) == "acid-a-2"


@pytest.mark.parametrize("to", [None, "acid-a-1"])
def test_a_member_that_only_the_leaders_list_lacks_is_waited_for(to):
    found = seen(listed=["acid-a-0"])
    with pytest.raises(Failed, match="until its next heartbeat"):
        candidate_of(found, "acid-a-0", to)
    assert waits_for_heartbeat(found, "acid-a-0", to)


def test_what_no_heartbeat_changes_is_not_waited_for():
    found = seen(listed=["acid-a-0"], tags={"nofailover": True})
    assert not waits_for_heartbeat(found, "acid-a-0", None)
    assert not waits_for_heartbeat(found, "acid-a-0", "acid-a-9")
