"""Roles whose Secret is in another namespace: they wait where nobody sees it, and nothing else does."""

from dataclasses import replace

import pytest

from howdah.core.alignment import missing_secrets
from howdah.core.copies import copied_secrets
from howdah.core.deletion import deletion_policy, left_secrets
from howdah.core.far_secrets import AGAIN_S, secret_problem
from howdah.core.findings import findings_of
from howdah.core.plan import CreateSecret
from howdah.model.postgres.desired import PasswordOrigin
from howdah.model.settings import default_settings
from unit.core.clusters import situation, three

CROSSING = {"enable_cross_namespace_secret": "true"}
USER = {"users": {"apps.svc": [], "writer": []}}
WHY = "namespace apps is not watched"


def seen(spec=USER, unseen=WHY, secrets=False):
    found = situation(*three(), spec=spec, settings=CROSSING, secrets=secrets)
    return replace(found, observed=replace(found.observed, secrets_unseen={"apps": unseen} if unseen else {}))


def made(found):
    return {s.username: s.holds_up for s in missing_secrets(found).steps if isinstance(s, CreateSecret)}


def test_a_far_secret_holds_up_nothing_when_it_cannot_be_made():
    assert made(seen(unseen="")) == {"apps.svc": False, "postgres": True, "standby": True, "writer": True}


def test_where_nobody_sees_secrets_none_is_made_and_the_others_are():
    assert set(made(seen())) == {"postgres", "standby", "writer"}


def test_nor_is_one_copied():
    found = seen()
    origin = PasswordOrigin("", "shared", "password")
    copies = tuple(replace(r, origin=origin) if r.username == "apps.svc" else r for r in found.cluster.secrets)
    copying = replace(found, cluster=replace(found.cluster, secrets=copies))
    assert copied_secrets(copying).steps == ()
    assert copied_secrets(replace(copying, observed=replace(copying.observed, secrets_unseen={}))).steps


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (USER, "spec.users.apps.svc"),
        (
            {"preparedDatabases": {"shop": {"defaultUsers": True, "secretNamespace": "apps"}, "sho": {}}},
            "spec.preparedDatabases.shop.secretNamespace",
        ),
    ],
)
def test_who_waits_is_said_with_its_path_why_and_what_to_do(spec, path):
    said = secret_problem(seen(spec)) or ""
    assert said.startswith(f"{path}: ")
    assert WHY in said
    assert "add the namespace to watched_namespace" in said
    assert findings_of(seen(spec)).secret_problem == said
    assert secret_problem(seen(spec, unseen="")) is None


def test_it_is_looked_at_again_for_nobody_may_tell_when_it_is_over():
    assert [wait.seconds for wait in missing_secrets(seen()).later] == [AGAIN_S]
    assert missing_secrets(seen(unseen="")).later == ()


def test_what_a_deletion_leaves_there_is_said_where_secrets_were_to_go():
    policy = deletion_policy(default_settings()[0])
    assert WHY in (left_secrets(seen().observed, replace(policy, secrets=True)) or "")
    assert left_secrets(seen().observed, replace(policy, secrets=False)) is None
    assert left_secrets(seen(unseen="").observed, replace(policy, secrets=True)) is None
