"""Our own definitions on the API server: what a schema or a rule can say of a mistake is said there, before any pass."""

from typing import Any

import pytest

from adapters.apiserver.client import Client
from howdah.model.crds import postgresql_crd
from unit.core.clusters import manifest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STORE = {"provider": "s3", "bucket": "mine"}


@pytest.fixture
def postgresqls(api: Client, namespace: str) -> str:
    if api.get(f"{CRDS}/postgresqls.acid.zalan.do").code == 404:
        assert api.post(CRDS, postgresql_crd()).code == 201
    return f"/apis/acid.zalan.do/v1/namespaces/{namespace}/postgresqls"


def written(namespace: str, **spec: Any) -> dict[str, Any]:
    found = manifest(**spec)
    return {**found, "metadata": {"name": "acid-a", "namespace": namespace}}


def test_what_a_manifest_says_for_its_cluster_alone_is_taken_and_kept(
    api: Client, namespace: str, postgresqls: str
) -> None:
    own = {
        "archive": {**STORE, "endpoint": "https://minio.example.com:9000", "credentialsSecret": "keys"},
        "logicalBackup": {
            "dockerImage": "dump:1",
            "target": {"provider": "az", "bucket": "box", "storageAccount": "abc"},
        },
        "resourceDefaults": {"requests": {"cpu": "100m"}},
        "minimumLimits": {"memory": "1Gi"},
    }
    answer = api.post(postgresqls, written(namespace, **own))
    assert answer.code == 201, answer
    assert {field: answer["spec"][field] for field in own} == own


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"archive": {"bucket": "mine"}}, "spec.archive.provider: Required value"),
        ({"archive": {**STORE, "provider": "swift"}}, "spec.archive.provider: Unsupported value"),
        ({"archive": {**STORE, "endpoint": "minio"}}, "is not the address of a store; write one such as https://"),
        ({"archive": {**STORE, "provider": "az"}}, "provider: az and storageAccount belong together"),
        ({"archive": {**STORE, "provider": "gcs", "region": "eu"}}, "have a meaning for provider s3 only"),
        ({"logicalBackup": {"target": {**STORE, "storageAccount": "abc"}}}, "storageAccount belong together"),
        ({"minimumLimits": {"cpu": "much"}}, "spec.minimumLimits.cpu"),
    ],
)
def test_a_mistake_is_refused_where_it_is_written(
    api: Client, namespace: str, postgresqls: str, spec: dict[str, Any], said: str
) -> None:
    answer = api.post(postgresqls, written(namespace, **spec))
    assert answer.code == 422
    assert said in answer["message"]
