"""What is said of a pooler's pods, and that poolers are among what is rendered, explained and orphaned."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from howdah.cli.explain import Acting, Explained, text
from howdah.cli.orphans import KINDS
from howdah.cli.plan import Planned
from howdah.cli.poolers import pooler_doing
from howdah.cli.render import MADE_FROM_OTHERS, print_objects
from howdah.model.observed import Pod

GOLDEN = Path(__file__).parents[2] / "golden" / "poolers" / "manifest.yaml"
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def pod(ready: bool = False, **state: Any) -> Pod:
    body = {
        "metadata": {"name": "p"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "connection-pooler", "state": state}],
        },
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=Pod)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (pod(ready=True, running={}), "takes connections"),
        (pod(running={}), "is being started"),
        (
            pod(waiting={"reason": "ErrImagePull", "message": "needs pgbouncer"}),
            "does not start: ErrImagePull: needs pgbouncer",
        ),
    ],
)
def test_a_pooler_takes_connections_when_its_pod_is_ready(seen: Pod, said: str) -> None:
    assert pooler_doing(seen) == said


def test_poolers_that_do_not_work_are_explained() -> None:
    condition = {"type": "PoolersReady", "status": "False", "reason": "NoPod", "message": "p: 0 of 2 pods"}
    status = {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T23:59:00Z"}]}
    members = (("p-1", "does not start: ErrImagePull"),)
    lines = list(text(Explained(Planned("ns", "c"), status, members, Acting(True, "a acts"), (), 1800, NOW)))
    assert "poolers not ready for 60s: NoPod: p: 0 of 2 pods" in lines
    assert "  p-1 does not start: ErrImagePull" in lines


def test_user_lists_are_rendered_without_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    print_objects([GOLDEN], None, "yaml")
    found = {(b["kind"], b["metadata"]["name"]): b for b in yaml.safe_load_all(capsys.readouterr().out)}
    assert found["Secret", "acid-pooled-pooler-u"]["stringData"] == {"userlist.txt": MADE_FROM_OTHERS}
    assert ("Deployment", "acid-pooled-pooler-repl") in found


def test_a_pooler_that_is_left_over_is_an_orphan() -> None:
    assert "Deployment" in KINDS
