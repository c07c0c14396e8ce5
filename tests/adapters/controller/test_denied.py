"""A namespace that the operator may not see: its clusters are left as they are and say so, and those of others go on."""

import asyncio

import pytest

from adapters.controller.rig import KEY, NAME, NAMESPACE, informers_of, rig
from adapters.controller.test_reconcile import ENV, asked, change_spec, delete
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.watch import Scope, Watch
from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, SECRETS, STATEFUL_SETS
from howdah.kube.testing import FakeKubernetes, Fault, fitting
from howdah.model import names

FOREIGN = {"enable_cross_namespace_secret": "true"}
APPS_SECRET = f"apps.svc.{NAME}.credentials.postgresql.acid.zalan.do"


def forbid(kube, namespace="apps", resource=""):
    kube.faults.add(Fault(fitting(namespace=namespace, resource=resource), 403, "Forbidden", times=10**9))


async def lose(operator, namespace="apps", resource=""):
    """A right that was there goes: its RoleBinding was deleted."""
    forbid(operator.kube, namespace, resource)
    operator.kube.cut_watches()
    lost = [i for i in informers_of(operator.watch) if i.namespace == namespace and resource in {"", i.resource.plural}]
    async with asyncio.timeout(15):
        while not all(map(is_refused, lost)):
            await asyncio.sleep(0.01)


def is_refused(informer):
    return informer.denied is not None


async def one_pass(operator):
    """On caches that have everything, as far as they may."""
    seen = [informer for informer in informers_of(operator.watch) if not is_refused(informer)]
    async with asyncio.timeout(15):
        while any(operator._is_late(informer, informer.namespace) for informer in seen):
            await asyncio.sleep(0.01)
    return await operator.reconciler.run(KEY)


def languages(operator):
    env = operator.read(STATEFUL_SETS)["spec"]["template"]["spec"]["containers"][0]["env"]
    return [one["value"] for one in env if one["name"] == "LANG"]


async def test_clusters_of_other_namespaces_go_on_when_one_may_not_be_seen_any_more():
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        await lose(operator)
        change_spec(operator, env=ENV)
        await one_pass(operator)
        assert languages(operator) == ["C"]
        assert operator.condition("Degraded")[0] == "False"


async def test_an_operator_starts_and_works_where_one_namespace_may_not_be_seen_from_the_beginning():
    async with rig(namespaces=("apps", NAMESPACE), beforehand=forbid) as operator:
        operator.create()
        await operator.passes()
        assert operator.find(STATEFUL_SETS) is not None
        denied = operator.watch.denied
        assert {one.namespace for one in denied} == {"apps"}
        assert {"postgresql", "Pod", "Secret"} <= {one.kind for one in denied}
        assert operator.watch.why_blind is None


async def test_a_cluster_that_is_not_seen_whole_is_left_as_it_is_and_says_what_and_where():
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        await lose(operator, NAMESPACE, "secrets")
        change_spec(operator, env=ENV)
        operator.forget()
        await one_pass(operator)
        assert {resource for _, resource, _ in asked(operator)} == {"postgresqls/status"}
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "Stopped")
        assert f"secrets {NAMESPACE}: 403 Forbidden" in message


async def test_a_deletion_waits_where_not_everything_is_seen_and_says_what_and_where():
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        await lose(operator, NAMESPACE, PERSISTENT_VOLUME_CLAIMS.plural)
        delete(operator)
        await one_pass(operator)
        assert operator.find(STATEFUL_SETS) is not None
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "NotPermitted")
        assert f"persistentvolumeclaims {NAMESPACE}: 403 Forbidden" in message


async def test_a_deletion_goes_on_where_another_namespace_may_not_be_seen():
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        await lose(operator)
        delete(operator)
        for _ in range(8):
            await one_pass(operator)
        assert operator.find(POSTGRESQLS) is None


@pytest.mark.parametrize("status", [429, 503, 0])
async def test_a_kind_that_was_refused_stays_unseen_when_the_server_fails_otherwise(status):
    """Claims, of which one may hold the data of an earlier cluster."""
    claims = PERSISTENT_VOLUME_CLAIMS.plural
    async with rig(beforehand=lambda kube: forbid(kube, NAMESPACE, claims)) as operator:
        operator.create()
        operator.kube.faults.clear()
        operator.kube.faults.add(Fault(fitting(resource=claims), status, "Fails", times=10**9))
        informer = operator.watch.claims[0]
        failures = informer.counts.failures
        async with asyncio.timeout(15):
            while informer.counts.failures < failures + 2:
                await asyncio.sleep(0.01)
        await one_pass(operator)
        assert operator.find(STATEFUL_SETS) is None
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "Stopped")
        assert f"persistentvolumeclaims {NAMESPACE}: 403 Forbidden" in message
        operator.kube.faults.clear()
        async with asyncio.timeout(30):
            while operator.watch.denied:
                await asyncio.sleep(0.05)
        await operator.passes()
        assert operator.find(STATEFUL_SETS) is not None


async def test_a_kind_that_was_never_listed_is_unseen():
    async with FakeKubernetes(POSTGRESQLS) as kube, kube.client() as client:
        scope = Scope((NAMESPACE, "apps"), {"application": "spilo"}, "cluster-name", "account", "binding")
        watch = Watch(client, scope, lambda _: None)  # nobody runs it
        found = watch.unknown_in("apps")
        assert {one.namespace for one in found} == {"apps"}
        assert {"Pod", "PersistentVolumeClaim", "StatefulSet"} <= {one.kind for one in found}
        assert found[0].error.message == "postgresqls have not been listed yet: no answer"
        assert watch.denied == ()


# --- Secrets of roles in such a namespace ------------------------------------------------------------------------------


async def test_a_role_waits_whose_secret_is_where_nothing_is_seen_and_its_cluster_goes_on():
    async with rig(options=FOREIGN, namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running(users={"apps.svc": []})
        assert operator.kube.store.find(SECRETS, "apps", APPS_SECRET) is not None
        await lose(operator)
        change_spec(operator, env=ENV)
        operator.forget()
        await one_pass(operator)
        assert languages(operator) == ["C"]
        assert not [r for r in operator.kube.writes() if r.namespace == "apps"]
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "SecretsOutOfReach")
        assert message.startswith('spec.users.apps.svc: "apps.svc" has its Secret in another namespace')
        assert "secrets apps: 403 Forbidden" in message


async def test_a_role_gets_its_secret_when_the_namespace_is_seen_again():
    async with rig(options=FOREIGN, namespaces=(NAMESPACE, "apps"), beforehand=forbid) as operator:
        operator.create(users={"apps.svc": []})
        await operator.passes()
        assert operator.kube.store.find(SECRETS, "apps", APPS_SECRET) is None
        operator.kube.faults.clear()
        async with asyncio.timeout(30):
            while operator.watch.denied:
                await asyncio.sleep(0.05)
        await operator.passes()
        assert operator.kube.store.find(SECRETS, "apps", APPS_SECRET) is not None
        assert operator.condition("Degraded")[0] == "False"


async def test_a_deleted_cluster_leaves_secrets_that_it_may_not_see_and_says_so():
    async with rig(options=FOREIGN, namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running(users={"apps.svc": []})
        assert (
            operator.kube.store.read(SECRETS, "apps", APPS_SECRET)["metadata"]["annotations"][names.CLUSTER]
            == f"{NAMESPACE}/{NAME}"
        )
        await lose(operator)
        delete(operator)
        for _ in range(8):
            await one_pass(operator)
        await operator.recorder.flush()
        assert operator.find(POSTGRESQLS) is None
        assert operator.kube.store.find(SECRETS, "apps", APPS_SECRET) is not None
        assert ("Warning", "SecretsLeft") in operator.events()


async def test_a_role_waits_whose_secret_is_to_be_in_a_namespace_that_is_not_watched():
    async with rig(options=FOREIGN) as operator:
        operator.create(users={"apps.svc": []})
        await operator.passes()
        operator.populate()
        await operator.passes()
        operator.forget()
        change_spec(operator, env=ENV)
        await operator.one_pass()
        assert languages(operator) == ["C"]
        assert not [r for r in operator.kube.writes() if r.namespace == "apps"]
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "SecretsOutOfReach")
        assert "spec.users.apps.svc" in message
        assert "namespace apps is not watched; add the namespace to watched_namespace" in message


async def test_a_role_waits_whose_namespace_does_not_exist_and_what_to_do_is_said():
    async with rig(options=FOREIGN, namespaces=(NAMESPACE, "typo")) as operator:
        operator.kube.absent_namespaces.add("typo")
        operator.create(users={"typo.svc": []})
        for _ in range(10):
            await operator.one_pass()
        assert operator.find(STATEFUL_SETS) is not None
        tries = [r for r in operator.kube.writes() if r.namespace == "typo"]
        assert len(tries) < 5, "each comes later than the one before"
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "StepFailed")
        assert 'namespaces "typo" not found; create namespace typo' in message
        operator.kube.absent_namespaces.clear()
        name = f"typo.{APPS_SECRET.removeprefix('apps.')}"
        async with asyncio.timeout(20):
            while operator.kube.store.find(SECRETS, "typo", name) is None:
                await asyncio.sleep(0.1)
                await operator.one_pass()
