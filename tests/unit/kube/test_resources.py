import pytest

from howdah.kube.resources import CONFIGMAPS, NODES, PODS, STATEFUL_SETS, Resource, custom_resource

POSTGRESQLS = custom_resource("acid.zalan.do/v1", "postgresql", "postgresqls")


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "subresource", "path"),
    [
        (PODS, None, "", "", "/api/v1/pods"),
        (PODS, "team", "", "", "/api/v1/namespaces/team/pods"),
        (PODS, "team", "a-0", "log", "/api/v1/namespaces/team/pods/a-0/log"),
        (NODES, None, "n1", "", "/api/v1/nodes/n1"),
        (STATEFUL_SETS, "team", "a", "scale", "/apis/apps/v1/namespaces/team/statefulsets/a/scale"),
        (POSTGRESQLS, "team", "a", "status", "/apis/acid.zalan.do/v1/namespaces/team/postgresqls/a/status"),
        (CONFIGMAPS, "team", "a/../../secrets/b", "", "/api/v1/namespaces/team/configmaps/a%2F..%2F..%2Fsecrets%2Fb"),
        (CONFIGMAPS, "team", "a?b#c", "", "/api/v1/namespaces/team/configmaps/a%3Fb%23c"),
    ],
)
def test_path_leads_to_the_object_and_nowhere_else(
    resource: Resource, namespace: str | None, name: str, subresource: str, path: str
) -> None:
    assert resource.path(namespace, name, subresource) == path


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "says"),
    [
        (PODS, None, "a-0", "needs a namespace"),
        (NODES, "team", "n1", "not namespaced"),
        (PODS, "team", "..", "no name of an object"),
        (PODS, "..", "a", "no name of an object"),
    ],
)
def test_path_refuses_what_does_not_fit(resource: Resource, namespace: str | None, name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        resource.path(namespace, name)


def test_custom_resource_needs_a_group() -> None:
    with pytest.raises(ValueError, match="has no group"):
        custom_resource("v1", "Thing", "things")
