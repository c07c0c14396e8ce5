"""What people give a cluster's labels is not the cluster's: nobody grows, annotates, deletes or waits for it."""

from adapters.controller.rig import KEY, LABELS, NAME, NAMESPACE, OPTIONS, Rig, rig
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller import observe
from howdah.controller.look import observe_live
from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS, Resource
from howdah.model.settings import settings_from_configmap

SCRATCH, EXPORTER = f"scratch-{NAME}", f"{NAME}-exporter-0"
CLAIM = {"resources": {"requests": {"storage": "1Gi"}}}
MEMBERS = tuple(f"{NAME}-{ordinal}" for ordinal in range(3))


def people_make(operator: Rig, resource: Resource, name: str, **more: object) -> None:
    operator.kube.store.seed(resource, {"metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS}, **more})


def strangers(operator: Rig) -> None:
    people_make(operator, PERSISTENT_VOLUME_CLAIMS, SCRATCH, spec=CLAIM)
    people_make(operator, PODS, EXPORTER, spec={"containers": []}, status={"phase": "Running"})


async def test_a_claim_that_people_labelled_keeps_no_new_cluster_from_being_made() -> None:
    async with rig() as operator:
        strangers(operator)
        operator.create()
        await operator.one_pass()
        assert operator.find(STATEFUL_SETS) is not None


async def test_a_claim_that_people_labelled_is_neither_grown_nor_annotated() -> None:
    async with rig(options={"inherited_annotations": "owned-by"}) as operator:
        await operator.running(volume={"size": "2Gi"})
        for name in (SCRATCH, f"pgdata-{NAME}-0", f"pgdata-{NAME}-exporter-0"):
            people_make(operator, PERSISTENT_VOLUME_CLAIMS, name, spec=CLAIM)
        operator.change(POSTGRESQLS, NAME, {"metadata": {"annotations": {"owned-by": "us"}}})
        await operator.passes()
        patched = {r.name for r in operator.writes() if r.resource == "persistentvolumeclaims"}
        assert patched == {f"pgdata-{NAME}-0"}


async def test_pods_and_claims_that_people_labelled_outlive_the_cluster_and_are_not_waited_for() -> None:
    async with rig() as operator:
        await operator.running()
        strangers(operator)
        operator.kube.store.delete(POSTGRESQLS, KEY)
        for _ in range(10):
            await operator.one_pass()
            for pod in MEMBERS:  # the kubelet's part
                if operator.find(PODS, pod) is not None:
                    operator.kube.store.delete(PODS, (NAMESPACE, pod), grace_s=0)
        assert operator.find(POSTGRESQLS) is None
        assert operator.find(PERSISTENT_VOLUME_CLAIMS, SCRATCH) is not None
        assert operator.find(PODS, EXPORTER) is not None


async def test_who_asks_the_api_sees_what_the_operator_sees() -> None:
    settings = settings_from_configmap(OPTIONS)[0]
    async with rig() as operator:
        await operator.running()
        strangers(operator)
        people_make(operator, PERSISTENT_VOLUME_CLAIMS, f"pgdata-{NAME}-0", spec=CLAIM)
        await operator.caught_up()
        cached = observe.from_caches(operator.watch, KEY, observe.utc_now())
        asked = await observe_live(operator.client, settings, NAMESPACE, NAME, now=observe.utc_now())
    assert cached is not None
    assert asked is not None
    assert [pod.name for pod in asked.pods] == list(MEMBERS)
    assert [claim.metadata.name for claim in asked.claims] == [f"pgdata-{NAME}-0"]
    for part in ("resource", "pods", "claims", "objects", "secrets", "patroni", "templates", "revisions", "nodes"):
        assert getattr(asked, part) == getattr(cached, part), part
