"""The contract holds for any input: what is valid is built, what is not is refused with paths, and nothing gets lost.

A few hundred of each in a plain run, new ones every time; 10,000 of each in CI (`CI=true`, where hypothesis repeats itself).
Inputs come from the tables of fields and options, so that a new one is covered by itself; where the tables do not say enough
of it, the generator says so.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.chance import MOST, Chance
from contract.configurations import Chosen, Spoilt, chosen, config_map, configuration, has_text, spoilt
from contract.manifests import SPEC, STORE_SECRETS, broken, manifest, misfit
from contract.published import objections
from contract.schemas import Json, paths
from howdah.cli.render import objects
from howdah.core.objects.metadata import ordered
from howdah.core.request.asked import Reference, References
from howdah.core.request.stores import KEYS
from howdah.core.resolve import required_references, resolve
from howdah.model.cluster import Cluster
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.manifest import dump_manifest, parse_manifest
from howdah.model.settings import OPTIONS, Settings, settings_from_configmap, settings_from_configuration

EXAMPLES = int(os.environ.get("HOWDAH_TEST_EXAMPLES") or (10_000 if os.environ.get("CI") else 300))
MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
pytestmark = pytest.mark.timeout(1800)  # 10,000 examples on a busy machine


def drawn(make: Callable[[Chance], Any]) -> st.SearchStrategy[Any]:
    return st.builds(Chance, st.integers(0, 2**32 - 1), st.integers(0, MOST)).map(make)


manifests = drawn(manifest)
options_that_allow_all = drawn(lambda chance: allowing(chosen(chance)))


# what is valid


@MANY
@given(manifests, options_that_allow_all)
def test_what_is_valid_is_built_as_kubernetes_takes_it_and_to_the_same_bytes_again(raw: Json, options: Chosen) -> None:
    made = objects(resolved(raw, options))

    assert [why for body in (raw, configuration(options), *made) for why in objections(body)] == []
    assert text(objects(resolved(raw, options))) == text(made)


@MANY
@given(manifests)
def test_a_manifest_that_is_written_again_has_lost_nothing(raw: Json) -> None:
    once = dump_manifest(parse_manifest(raw).manifest)

    assert dump_manifest(parse_manifest(once).manifest) == once
    assert without_successors(once, raw) == without_successors(with_meanings(raw), raw)


def test_another_process_gives_the_same_bytes() -> None:
    """Sets have another order there."""
    digests = {digest_elsewhere(seed) for seed in ("1", "2")}

    assert len(digests) == 1


# both forms of the configuration


@MANY
@given(drawn(chosen))
def test_both_forms_of_a_configuration_mean_the_same(values: Chosen) -> None:
    options = {name: value for name, value in values.items() if says_the_same(name, value)}

    from_object = settings_from_configuration(configuration(options))[0]
    from_map = settings_from_configmap(config_map(options))[0]

    assert {name: getattr(from_object, name) for name in options} == {name: getattr(from_map, name) for name in options}


# what is broken


@MANY
@given(drawn(broken))
def test_a_broken_manifest_is_refused_with_paths_or_is_none(raw: Json) -> None:
    problems = refusal(resolve, raw, DEFAULTS)

    if problems:
        assert all(problem.path and problem.message for problem in problems)
        refused = is_resource(raw) and any(True for _ in objections(raw))
        assert refused or not is_resource(raw) or {p.path for p in problems if not is_said_here_alone(p)} == set()
    else:
        assert objects(resolve(raw, DEFAULTS))
        assert [why for why in objections(raw) if ": spec." in why] == []


@MANY
@given(drawn(misfit))
def test_a_value_that_the_schema_forbids_is_refused_at_its_path(found: tuple[Json, str]) -> None:
    raw, path = found

    with pytest.raises(InvalidSpec) as caught:
        parse_manifest(raw)

    assert [problem for problem in caught.value.problems if is_named(problem, path)]


@MANY
@given(drawn(spoilt))
def test_a_broken_option_is_refused_by_its_name_or_is_none(odd: Spoilt) -> None:
    for read, raw, root in (
        (settings_from_configuration, odd.body, "configuration"),
        (settings_from_configmap, odd.data, "data"),
    ):
        problems = refusal(read, raw)
        assert all(problem.path.startswith(root) and problem.message for problem in problems)
        assert not problems or any(odd.name in str(problem) for problem in problems)


# the generators leave nothing out


def test_every_field_is_generated() -> None:
    wanted = {path for path, _ in paths(SPEC)}
    seen: set[str] = set()
    for number in range(3000):
        seen |= set(shapes(manifest(Chance(number))["spec"], SPEC))

    assert wanted - seen == set()


def test_every_option_is_generated() -> None:
    seen = {name for number in range(300) for name in chosen(Chance(number))}

    assert set(OPTIONS) - seen == set()


# in this file


HERE_ALONE = {
    "has no value": "the server drops a null before it looks",
    "is not the limit": "amounts are compared, and one amount has several spellings",
    "is not a node selector": "inside an object of Kubernetes' own",
    "that are not a list": "inside an object of Kubernetes' own",
    "is not an object": "inside an object of Kubernetes' own",
    "has value and valueFrom": "inside an object of Kubernetes' own",
    "is too large": "a number that JSON can hardly say",
    "times": "a list by name would be merged otherwise by kubectl apply",
    "is there twice": "likewise",
    "is part of a Secret's name": "depends on the options of a database",
    "has no": "an image of spaces, or an empty name inside an object of Kubernetes' own",
    "cannot be the value of a label": "label values are long and ASCII only; the team is shown as it is",
    "is not a parameter": "keys of maps in a map: a rule for each would cost more than a server allows",
    "cannot name a role": "likewise",
    "does not exist": "other objects are not the schema's concern",
    "says where backups go": "the rule would compare every variable with a long list",
    " bytes": "depends on what names are made of it",
    "has an owner": "roles and databases together",
    "another volume": "depends on the operator's options",
    "is taken by": "depends on the operator's options",
}
"""What a schema cannot say, by what is said of it, and why."""


def is_said_here_alone(problem: Problem) -> bool:
    # Of a removed spelling the schema says less than of the field that took its place.
    is_elsewhere = not problem.path.startswith("spec.") or problem.path.startswith("spec.init_containers")
    return is_elsewhere or any(words in problem.message for words in HERE_ALONE)


def is_resource(raw: Json) -> bool:
    """What the server would take for one of this kind at all."""
    is_ours = (raw.get("apiVersion"), raw.get("kind")) == ("acid.zalan.do/v1", "postgresql")
    return is_ours and isinstance(raw.get("metadata"), dict)


def refusal(read: Callable[..., Any], *given: Any) -> tuple[Problem, ...]:
    """What InvalidSpec says; nothing where the input is valid."""
    try:
        read(*given)
    except InvalidSpec as invalid:
        return invalid.problems
    return ()


DEFAULTS = settings_from_configmap({})[0]
FORBIDDING = ("enable_sidecars", "enable_init_containers", "enable_team_id_clustername_prefix")
"""Options that make a sound manifest invalid."""


def allowing(options: Chosen) -> Chosen:
    """The options without those that would forbid something."""
    return {name: value for name, value in options.items() if name not in FORBIDDING}


def resolved(raw: dict[str, Any], options: Chosen) -> Cluster:
    known, _ = settings_from_configuration(configuration(options, groups=len(options) % 2 == 0))
    return resolve(raw, known, everything(known, raw["metadata"]["namespace"]))


def everything(known: Settings, namespace: str) -> References:
    """All objects that the options refer to, and those that a manifest may."""
    wanted = required_references(known, namespace)
    stores = {Reference("Secret", name, (namespace,)): STORE_KEYS for name in STORE_SECRETS}
    return References(
        {reference: {"FROM_OPERATOR": "x"} for reference in wanted if reference.kind == "ConfigMap"},
        {reference: ("SECRET_VARIABLE",) for reference in wanted if reference.kind == "Secret"} | stores,
    )


STORE_KEYS = tuple(key for keys in KEYS.values() for key in keys)


def text(bodies: Iterable[Any]) -> str:
    return "\n".join(repr(ordered(body)) for body in bodies)


def with_meanings(raw: Json) -> Json:
    """A user, prepared database or schema without a value is one without flags or options."""
    spec = dict(raw["spec"])
    if spec.get("users"):
        spec["users"] = {name: flags or [] for name, flags in spec["users"].items()}
    if spec.get("preparedDatabases"):
        spec["preparedDatabases"] = {name: with_schemas(part or {}) for name, part in spec["preparedDatabases"].items()}
    return {**raw, "spec": spec}


def with_schemas(part: Json) -> Json:
    if "schemas" not in part:
        return part
    return {**part, "schemas": {name: options or {} for name, options in part["schemas"].items()}}


SUCCESSORS = {
    "init_containers": ("initContainers",),
    "pod_priority_class_name": ("podPriorityClassName",),
    "useLoadBalancer": ("enableMasterLoadBalancer", "enableReplicaLoadBalancer"),
    "replicaLoadBalancer": ("enableMasterLoadBalancer", "enableReplicaLoadBalancer"),
}


def without_successors(written: Json, raw: Json) -> Json:
    """Without the fields that a removed one stands in for: parsing sets them."""
    dropped = {new for old, names in SUCCESSORS.items() if old in raw["spec"] for new in names}
    return {**written, "spec": {name: value for name, value in written["spec"].items() if name not in dropped}}


def says_the_same(name: str, value: Json) -> bool:
    """An empty value means the default in an object, and nothing in a ConfigMap; a single pooler is two there."""
    is_one_pooler = (name, value) == ("connection_pooler_number_of_instances", 1)
    return has_text(name, value) and not OPTIONS[name].kind.is_empty(value) and not is_one_pooler


def is_named(problem: Problem, path: str) -> bool:
    """Whether the problem is at `path`, or says the last part of it."""
    parent, _, field = path.rpartition(".")
    return problem.path.startswith(path) or (problem.path == parent and field in problem.message)


def shapes(value: Json, schema: Any, path: str = "") -> Iterator[str]:
    """The paths of the schema that a value has, `*` for keys and indexes."""
    if path:
        yield path
    if isinstance(value, list):
        for item in value:
            yield from shapes(item, schema.get("items") or {}, f"{path}.*")
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, item in value.items():
            if key in properties:
                yield from shapes(item, properties[key], f"{path}.{key}".lstrip("."))
            elif "additionalProperties" in schema:
                yield from shapes(item, schema["additionalProperties"], f"{path}.*")


def digest_elsewhere(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "contract.test_any_input"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=100).stdout


def digest() -> str:
    """Of what 200 manifests and configurations render to."""
    found = hashlib.sha256()
    for number in range(200):
        raw = manifest(Chance(number))
        options = allowing(chosen(Chance(-number)))
        found.update(text(objects(resolved(raw, options))).encode())
    return found.hexdigest()


if __name__ == "__main__":
    print(digest())
