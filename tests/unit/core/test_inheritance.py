"""What existing objects of others inherit: only what is missing is merged in, and a quiet cluster gets nothing."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from howdah.core.alignment import missing_secrets
from howdah.core.inheritance import inherit
from howdah.core.plan import PatchMetadata, UpdateEnvironmentSecret
from howdah.model import names
from howdah.model.observed import PatroniObject, SecretMeta
from unit.core.clusters import NAME, NAMESPACE, UID, claim, decoded, live, lock, situation, three

INHERITING = {"annotations": {"owned-by": "me"}, "settings": {"inherited_annotations": "owned-by"}}
OWNING = {"settings": {"enable_owner_references": "true"}}
MINE = {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "name": NAME, "uid": UID, "controller": True}
THEIRS = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "uid-of-n"}


def steps_of(seen) -> dict[tuple[str, str], PatchMetadata]:
    steps = inherit(seen).steps
    assert all(isinstance(step, PatchMetadata) for step in steps)
    return {(step.kind, step.name): step for step in steps if isinstance(step, PatchMetadata)}


def with_metadata(seen, **metadata: Any):
    """The same cluster, with this metadata on each object that inherits."""

    def changed(found):
        return msgspec.convert(msgspec.to_builtins(found) | {"metadata": whole(found)}, type(found))

    def whole(found):
        return {**msgspec.to_builtins(found.metadata), **metadata}

    observed = seen.observed
    return replace(
        seen,
        observed=replace(
            observed,
            patroni={place: changed(found) for place, found in observed.patroni.items()},
            secrets={place: changed(found) for place, found in observed.secrets.items()},
            claims=tuple(changed(found) for found in observed.claims),
        ),
    )


def test_inherited_annotations_reach_patronis_objects_claims_and_secrets():
    steps = steps_of(situation(*three(), claims=[claim(0)], **INHERITING))
    assert set(steps) == {
        ("ConfigMap", f"{NAME}-config"),
        ("ConfigMap", f"{NAME}-leader"),
        ("PersistentVolumeClaim", f"pgdata-{NAME}-0"),
        ("Secret", f"postgres.{NAME}.credentials.postgresql.acid.zalan.do"),
        ("Secret", f"standby.{NAME}.credentials.postgresql.acid.zalan.do"),
    }
    for step in steps.values():
        assert (dict(step.annotations), step.owner_references, step.resource_version) == ({"owned-by": "me"}, None, "")
        assert step.uid
        assert step.namespace == NAMESPACE


def test_another_value_is_followed_and_patronis_own_keys_are_not_sent():
    seen = situation(*three(), claims=[], secrets=False, leader_lock={**lock(), "owned-by": "you"}, **INHERITING)
    assert dict(steps_of(seen)["ConfigMap", f"{NAME}-leader"].annotations) == {"owned-by": "me"}


def test_an_object_that_has_everything_gets_no_step():
    seen = situation(*three(), **INHERITING)
    assert not inherit(with_metadata(seen, annotations={"owned-by": "me", "theirs": "1"})).steps


def test_a_key_that_is_not_asked_for_any_more_stays():
    seen = situation(*three(), settings=INHERITING["settings"])
    assert not inherit(with_metadata(seen, annotations={"owned-by": "me"})).steps


def test_owner_references_join_those_of_others_in_the_version_seen():
    seen = with_metadata(
        situation(*three(), claims=[claim(0)], **OWNING), ownerReferences=[THEIRS], resourceVersion="7"
    )
    steps = steps_of(seen)
    assert {kind for kind, _ in steps} == {"ConfigMap", "Secret"}  # claims outlive the resource
    for step in steps.values():
        assert (step.owner_references, step.resource_version) == ((THEIRS, MINE), "7")
        assert not step.annotations


def test_our_owner_reference_goes_when_it_is_not_asked_for_and_those_of_others_stay():
    steps = steps_of(with_metadata(situation(*three()), ownerReferences=[THEIRS, MINE]))
    assert steps
    assert all(step.owner_references == (THEIRS,) for step in steps.values())


def test_owners_that_are_there_already_are_no_difference():
    assert not inherit(with_metadata(situation(*three(), **OWNING), ownerReferences=[THEIRS, MINE])).steps
    assert not inherit(with_metadata(situation(*three()), ownerReferences=[THEIRS])).steps


def test_with_endpoints_the_service_that_patroni_makes_is_owned_too():
    place = ("Service", f"{NAME}-config")
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": place[1], "namespace": NAMESPACE}}
    asked = {"settings": {"enable_owner_references": "true", "kubernetes_use_configmaps": "false"}}
    steps = steps_of(situation(*three(), objects={place: live(body)}, secrets=False, **asked))
    assert set(steps) == {place, ("Endpoints", NAME), ("Endpoints", f"{NAME}-config")}


def test_what_is_being_deleted_is_left_alone():
    gone = with_metadata(situation(*three(), **INHERITING), deletionTimestamp="2026-01-02T03:04:00Z")
    assert not inherit(gone).steps


@pytest.mark.parametrize("kind", [PatroniObject, SecretMeta])
def test_an_owner_reference_is_kept_whole_in_what_is_observed(kind):
    body = {"metadata": {"name": "x", "ownerReferences": [{**THEIRS, "blockOwnerDeletion": True}]}}
    found = decoded(kind, body).metadata.owner_references
    assert msgspec.to_builtins(found) == [{**THEIRS, "blockOwnerDeletion": True}]


# --- Secrets in other namespaces ---------------------------------------------------------------------------------------

FOREIGN = {"spec": {"users": {"apps.svc": []}}, "settings": {"enable_cross_namespace_secret": "true"}}


@pytest.mark.parametrize(
    ("claim", "says", "written"),
    [
        ("it says nothing yet", {}, f"{NAMESPACE}/{NAME}"),
        ("it says whose it is", {names.CLUSTER: f"{NAMESPACE}/{NAME}"}, None),
        ("it is of a cluster of the same name elsewhere", {names.CLUSTER: f"other/{NAME}"}, None),
    ],
)
def test_a_secret_in_another_namespace_is_told_whose_it_is_once(claim, says, written):
    steps = steps_of(with_metadata(situation(*three(), **FOREIGN), annotations=says))
    found = [step for step in steps.values() if names.CLUSTER in step.annotations]
    assert [step.annotations[names.CLUSTER] for step in found] == ([written] if written else []), claim
    assert all((step.namespace, step.owner_references) == ("apps", None) for step in found)


def test_a_secret_beside_a_cluster_of_the_same_name_is_not_claimed():
    seen = with_metadata(situation(*three(), **FOREIGN))
    beside = replace(seen, observed=replace(seen.observed, namesakes=frozenset({"apps"})))
    assert [step for step in steps_of(seen).values() if names.CLUSTER in step.annotations]
    assert not [step for step in steps_of(beside).values() if names.CLUSTER in step.annotations]


def test_environment_secrets_inherit_too_and_are_made_to_hold_what_is_asked_for():
    clone = {"cluster": "b", "timestamp": "2026-01-01T00:00:00+00:00", "s3_wal_path": "s3://b/p"}
    spec = {"clone": {**clone, "s3_access_key_id": "K", "s3_secret_access_key": "HUSH"}}
    seen = situation(*three(), spec=spec, **INHERITING)
    name = f"{NAME}-environment"
    there = decoded(SecretMeta, {"metadata": {"name": name, "namespace": NAMESPACE, "uid": "u"}})
    observed = replace(seen.observed, secrets={**seen.observed.secrets, (NAMESPACE, name): there})
    assert ("Secret", name) in steps_of(replace(seen, observed=observed))
    assert missing_secrets(replace(seen, observed=observed)).steps == ()
    outdated = replace(observed, outdated_keys={(NAMESPACE, name): ("CLONE_AWS_SECRET_ACCESS_KEY",)})
    (step,) = missing_secrets(replace(seen, observed=outdated)).steps
    assert isinstance(step, UpdateEnvironmentSecret)
    assert (step.uid, step.keys) == ("u", ("CLONE_AWS_SECRET_ACCESS_KEY",))
    assert "HUSH" not in repr(step)
