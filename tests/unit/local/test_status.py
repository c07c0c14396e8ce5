"""A pod's phase and conditions from its containers."""

import pytest

from howdah.local.node.containers import Exit
from howdah.local.node.keeper import pause_s, restarts
from howdah.local.node.status import ContainerView, PodView, Terminated, conditions, phase, pod_status

GOOD = Terminated(Exit(0, 0, 1.0, 2.0), "id")
BAD = Terminated(Exit(1, 0, 1.0, 2.0), "id")


def view(**fields: object) -> ContainerView:
    return ContainerView("main", "image", **fields)  # type: ignore[arg-type]


WAITING, RUNNING, READY = view(), view(started_at=1.0), view(started_at=1.0, ready=True, started=True)
ENDED, FAILED, CRASHED = view(ended=GOOD), view(ended=BAD), view(waiting="CrashLoopBackOff", last=BAD)


@pytest.mark.parametrize(
    ("containers", "init", "policy", "finished", "result"),
    [
        ([WAITING], [], "Always", False, "Pending"),
        ([READY, WAITING], [], "Always", False, "Running"),
        ([RUNNING], [], "Always", False, "Running"),
        ([CRASHED], [], "Always", False, "Running"),
        ([FAILED], [], "Always", False, "Running"),
        ([WAITING], [RUNNING], "Always", False, "Pending"),
        ([WAITING], [FAILED], "Never", False, "Failed"),
        ([ENDED], [], "Never", False, "Succeeded"),
        ([FAILED, ENDED], [], "Never", False, "Failed"),
        ([ENDED], [], "OnFailure", False, "Succeeded"),
        ([ENDED], [], "Always", True, "Succeeded"),
        ([FAILED], [], "Always", True, "Failed"),
    ],
)
def test_phase(
    containers: list[ContainerView], init: list[ContainerView], policy: str, finished: bool, result: str
) -> None:
    assert phase(PodView(containers, init, finished=finished), policy) == result


def test_pod_is_ready_when_all_its_containers_are() -> None:
    for containers, ready in (([READY, READY], "True"), ([READY, RUNNING], "False"), ([READY, ENDED], "False")):
        status = pod_status(PodView(containers), {"spec": {}}, 10.0)
        found = {entry["type"]: entry["status"] for entry in status["conditions"]}
        assert found["Ready"] == found["ContainersReady"] == ready


def test_transition_time_changes_only_with_the_condition() -> None:
    first = conditions([("Ready", False, "", "")], (), 0.0)
    same = conditions([("Ready", False, "Why", "")], first, 60.0)
    other = conditions([("Ready", True, "", "")], same, 120.0)
    assert [entry[0]["lastTransitionTime"][14:19] for entry in (first, same, other)] == ["00:00", "00:00", "02:00"]


def test_conditions_of_others_are_kept() -> None:
    theirs = {"type": "Theirs", "status": "True"}
    assert theirs in conditions([("Ready", True, "", "")], [theirs], 0.0)


def test_terminated_container_shows_code_and_times() -> None:
    shown = pod_status(PodView([FAILED]), {"spec": {}}, 0.0)["containerStatuses"][0]
    assert shown["state"]["terminated"]["exitCode"] == 1
    assert not shown["ready"]


def test_first_restart_is_immediate_then_pauses_double_up_to_five_minutes() -> None:
    assert [pause_s(failures) for failures in range(1, 10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("policy", "code", "is_init", "again"),
    [
        ("Always", 0, False, True),
        ("OnFailure", 0, False, False),
        ("OnFailure", 1, False, True),
        ("Never", 1, False, False),
        ("Always", 0, True, False),
        ("Always", 1, True, True),
        ("Never", 1, True, False),
    ],
)
def test_restart_policy(policy: str, code: int, is_init: bool, again: bool) -> None:
    assert restarts(policy, code, is_init) is again
