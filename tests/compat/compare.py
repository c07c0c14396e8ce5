"""Compares the objects that we make with those that the reference was recorded to make, field by field.

`make compat CASES=DIR` does this with any folder. Fields that the API server fills in are left out on both sides. What
differs on purpose is in `differences.yaml`, what is not built yet in `unfinished.yaml`; the test fails on a row of either
that nothing needs any more.
"""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from compat.others import MADE_BY_OTHERS, NOW, Others
from compat.rotation import rotated
from howdah.core.facts import live_stream
from howdah.core.objects.api import DEFAULTS, FREE_MAPS, KEY_DEFAULTS, QUANTITIES, SETS, list_keys
from howdah.core.objects.build import build
from howdah.core.objects.secrets import secret
from howdah.core.postgres.infrastructure import RoleSecret, entries, name_keys
from howdah.core.request.asked import Reference, References
from howdah.core.request.roles import api_teams, entries_of, role_references
from howdah.core.resolve import LiveFacts, required_references, resolve
from howdah.model.cluster import Cluster
from howdah.model.errors import InvalidSpec
from howdah.model.names import STREAM_KIND
from howdah.model.postgres.desired import PasswordOrigin
from howdah.model.postgres.people import Membership
from howdah.model.settings import (
    InfrastructureRoleSecret,
    Settings,
    default_settings,
    settings_from_configmap,
    settings_from_configuration,
)
from howdah.model.teams import joined, parse_team
from howdah.model.units import PgVersion, Quantity

HERE = Path(__file__).parent
CASES = HERE / "cases"
FAILED = frozenset({"CreateFailed", "Invalid", "SyncFailed", "UpdateFailed", ""})

Id = tuple[str, str, str]  # kind, namespace, name
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Case:
    """The inputs of a case."""

    folder: Path
    facts: Mapping[str, Any]
    manifest: Mapping[str, Any]
    settings: Settings

    @property
    def name(self) -> str:
        """The folder's name, which is the namespace too."""
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Deviation:
    """One field, or one whole object (path is empty), that is not the same. None: not there."""

    case: Case
    kind: str
    name: str
    path: str
    ours: Any
    recorded: Any
    body: Mapping[str, Any]
    before: Any = None
    """What was recorded a step earlier."""

    def __str__(self) -> str:
        """A line for people."""
        path = self.path or "(the object)"
        return f"{self.case.name}: {self.kind} {self.name} {path}: ours {self.ours!r}, recorded {self.recorded!r}"


@dataclass(slots=True)
class Totals:
    """What a run found."""

    cases: int = 0
    refused: int = 0
    left_alone: int = 0
    steps: int = 0
    objects: int = 0
    fields: int = 0
    intended: Counter[int] = field(default_factory=Counter)
    unfinished: Counter[int] = field(default_factory=Counter)
    unexplained: list[Deviation] = field(default_factory=list)

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.cases} cases ({self.refused} refused by both, {self.left_alone} left alone by both), "
            f"{self.steps} steps, {self.objects} objects, {self.fields} fields compared: "
            f"{self.intended.total()} differ by intent, "
            f"{self.unfinished.total()} are not built yet, {len(self.unexplained)} differ without explanation"
        )


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file; none where it does not exist."""
    if not path.exists():
        return []
    return [document for document in yaml.load_all(path.read_text(), Loader=Loader) if document]


def read_case(folder: Path) -> Case:
    """The inputs of one case; the resource is as the API server would give it to an operator."""
    facts = documents(folder / "case.yaml")
    return Case(folder, facts[0] if facts else {}, _manifest(folder, "manifest.yaml"), _settings(folder))


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    manifest = documents(folder / name)[0]
    manifest["metadata"] |= {"namespace": folder.name, "uid": "UID", "generation": 1}
    # The API server of the recordings dropped a user without value before an operator saw it; ours keeps it.
    if users := manifest["spec"].get("users"):
        manifest["spec"]["users"] = {name: flags for name, flags in users.items() if flags is not None}
    return manifest


def _settings(folder: Path) -> Settings:
    if found := documents(folder / "configuration.yaml"):
        return settings_from_configuration(found[0])[0]
    if found := documents(folder / "configmap.yaml"):
        return settings_from_configmap(found[0].get("data") or {})[0]
    return default_settings()[0]


def references_of(case: Case) -> References:
    """What the referenced objects among the case's own hold. The operator's namespace is the case's."""
    there = beforehand(case)
    config_maps: dict[Reference, Mapping[str, str]] = {}
    secret_keys: dict[Reference, tuple[str, ...]] = {}
    for reference in required_references(case.settings, case.name):
        for namespace in reference.namespaces:
            body = there.get((reference.kind, namespace or case.name, reference.name))
            if body is None:
                continue
            if reference.kind == "ConfigMap":
                config_maps.setdefault(reference, body.get("data") or {})
            else:
                secret_keys.setdefault(reference, tuple(values_of(body)))
    role_secrets: dict[Reference, RoleSecret] = {}
    for reference in role_references(case.settings):
        body = there.get((reference.kind, reference.namespaces[0] or case.name, reference.name))
        if body is not None and reference.kind == "ConfigMap":
            config_maps[reference] = body.get("data") or {}
        elif body is not None:
            values = values_of(body)
            shown = name_keys(entries_of(case.settings, reference), values)
            role_secrets[reference] = RoleSecret(frozenset(values), {key: values[key] for key in shown})
    return References(config_maps, secret_keys, role_secrets, membership_of(case))


def values_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The data of a Secret, in clear."""
    encoded = {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}
    return encoded | (body.get("stringData") or {})


def membership_of(case: Case) -> Membership:
    """What the recorder's teams API says, and the PostgresTeam resources."""
    teams = joined(parse_team(body) for body in beforehand(case).values() if body["kind"] == "PostgresTeam")
    said = (documents(case.folder / "teams.yaml") or [{}])[0]
    asked = api_teams(case.settings, teams, case.manifest["spec"]["teamId"])
    members = {team: tuple(said[team]) for team in asked if team in said}
    return Membership(teams, members, frozenset(asked) - frozenset(said))


def beforehand(case: Case) -> dict[Id, dict[str, Any]]:
    """The objects that people made before the operator came."""
    bodies = documents(case.folder / "extra.yaml")
    return {(b["kind"], b["metadata"].get("namespace", case.name), b["metadata"]["name"]): b for b in bodies}


def cluster_of(case: Case) -> Cluster:
    """The resolved request of a case; raises InvalidSpec."""
    return resolve(case.manifest, case.settings, references_of(case))


def our_objects(
    cluster: Cluster, there: Mapping[Id, Mapping[str, Any]] = MappingProxyType({})
) -> dict[Id, dict[str, Any]]:
    """What we would make, Secrets as they are after their creation; `there`: what passwords are copied from."""
    made = {_id(body): body for body in map(named, build(cluster))}
    for request in cluster.secrets:
        body = secret(request)
        body["stringData"] = {"username": request.username, "password": _password(request.origin, there)}
        made[_id(body)] = body
    origins = {request.username: request.origin for request in cluster.secrets}
    for pooler in cluster.poolers:
        body = secret(pooler.user_list)
        users = "".join(f'"{s.user}" "{_password(origins.get(s.user), there)}"\n' for s in pooler.user_list.users)
        made[_id(body)] = body | {"stringData": {"userlist.txt": users}}
    if cluster.environment_secret is not None:
        body = secret(cluster.environment_secret)
        made[_id(body)] = body | {"stringData": dict(cluster.environment_secret.values)}
    return made


def _password(origin: PasswordOrigin | None, there: Mapping[Id, Mapping[str, Any]]) -> str:
    if origin is None:
        return "PASSWORD:64"
    found = [b for (kind, place, name), b in there.items() if kind == "Secret" and name == origin.secret]
    return values_of(found[0])[origin.key]


def named(body: dict[str, Any]) -> dict[str, Any]:
    """An object of streams has five random characters in its name: it is told by its application instead."""
    if body["kind"] != STREAM_KIND:
        return body
    name = f"{body['metadata']['name'][:-5]}XXXXX {body['spec']['applicationId']}"
    return {**body, "metadata": {**body["metadata"], "name": name}}


def _id(body: Mapping[str, Any]) -> Id:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


def fields_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Every leaf of an object by its path; list items by their keys, what the server fills in left out."""
    return dict(_leaves(body, "", ""))


def _leaves(value: Any, path: str, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        if name == "env":
            value = {**value, "value": _variable(value)} if "valueFrom" not in value else value
        for key, below in value.items():
            step = f"[{key}]" if "." in key or "/" in key else f".{key}"
            if name in FREE_MAPS or DEFAULTS.get(key) != (below,):
                yield from _leaves(below, f"{path}{step}".removeprefix("."), key)
        if not value and name == "emptyDir":
            yield path, {}
    elif isinstance(value, list | tuple):
        yield from _items(list(value), path, name)
    elif value not in ("", None) or name == "value":
        yield path, _canonical(name, value)


def _variable(entry: Mapping[str, Any]) -> Any:
    text = entry.get("value") or ""
    is_document = entry.get("name") in ("SPILO_CONFIGURATION", "KUBERNETES_LABELS") and text.startswith("{")
    return json.loads(text) if is_document else text


def _items(items: list[Any], path: str, name: str) -> Iterator[tuple[str, Any]]:
    keys = list_keys(name, items)
    if keys:
        said = [",".join(str(item.get(key, KEY_DEFAULTS.get(key, ""))) for key in keys) for item in items]
        if name in ("env", "containers"):
            yield f"{path} (order)", said
        for key, item in zip(said, items, strict=True):
            yield from _leaves(item, f"{path}[{key}]", name)
    elif name in SETS:
        yield path, sorted(json.dumps(item, sort_keys=True) for item in items)
    else:
        for index, item in enumerate(items):
            yield from _leaves(item, f"{path}[{index}]", name if name != "value" else "")


def _canonical(name: str, value: Any) -> Any:
    return str(Quantity.parse(str(value))) if name in QUANTITIES and value not in ("", None) else value


@cache
def rules(file: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of `differences.yaml` or `unfinished.yaml`."""
    return tuple(yaml.load((HERE / file).read_text(), Loader=Loader) or ())


def rule_for(deviation: Deviation, file: str) -> int | None:
    """The row that explains a deviation: everything that the row says must hold, `paths` and values exactly."""
    return next((index for index, row in enumerate(rules(file)) if _explains(row, deviation)), None)


def _explains(row: Mapping[str, Any], deviation: Deviation) -> bool:
    return (
        row["kind"] == deviation.kind
        and (deviation.path in row.get("paths", [""]) or row.get("when") in _FIELDS)
        and row.get("ours", deviation.ours) == deviation.ours
        and row.get("recorded", deviation.recorded) == deviation.recorded
        and deviation.name.endswith(row.get("name_ends", ""))
        and ("when" not in row or _CONDITIONS[row["when"]](deviation))
    )


def _is_nologin_user(deviation: Deviation) -> bool:
    user = deviation.body["stringData"].get("username")
    flags = (deviation.case.manifest["spec"].get("users") or {}).get(user) or ()
    roles = references_of(deviation.case).config_maps
    options = next((found[user] for ref, found in roles.items() if user in found), "")
    return "nologin" in (flag.lower() for flag in flags) or "nologin" in options.lower()


def _is_lost_infrastructure_role(deviation: Deviation) -> bool:
    """The reference stops reading numbered roles early, and heeds no defaults of an OperatorConfiguration."""
    user = deviation.body["stringData"].get("username")
    place = deviation.case.name
    for entry in entries(deviation.case.settings):
        body = beforehand(deviation.case).get(("Secret", entry.secret.namespace or place, entry.secret.name))
        values = values_of(body or {})
        if entry.is_template and user in _lost_numbers(values, entry):
            return True
        is_object = bool(documents(deviation.case.folder / "configuration.yaml"))
        if is_object and user == entry.default_user_value and entry.user_key not in values:
            return True
    return False


def _lost_numbers(values: Mapping[str, str], entry: InfrastructureRoleSecret) -> set[str]:
    """Its loop ends at the number of keys that are left, and each role that was read takes its keys away."""
    left, number = dict(values), 1
    while number <= len(left) and f"{entry.user_key}{number}" in left:
        for key in (entry.user_key, entry.password_key, entry.role_key):
            left.pop(f"{key}{number}", None)
        number += 1
    return {value for key, value in left.items() if key.removeprefix(entry.user_key).isdigit()}


def _is_left_behind(deviation: Deviation) -> bool:
    """The reference did not follow a change of the manifest."""
    is_metadata = deviation.path.startswith(("metadata.labels", "metadata.annotations"))
    return is_metadata and deviation.recorded == deviation.before is not None


def _is_kept(deviation: Deviation) -> bool:
    """We keep what was there, in the template of claims."""
    return deviation.path.startswith("spec.volumeClaimTemplates[0].") and deviation.ours == deviation.before is not None


def _is_held_back(deviation: Deviation) -> bool:
    """We keep what was there, as the reference did a step earlier."""
    return deviation.ours == deviation.before is not None


_CONDITIONS: Mapping[str, Callable[[Deviation], bool]] = {
    "nologin user": _is_nologin_user,
    "infrastructure role that the reference loses": _is_lost_infrastructure_role,
    "left behind by the reference": _is_left_behind,
    "kept in the claim template": _is_kept,
    "held back before": _is_held_back,
}
"""What a row's `when` may say; those of `_FIELDS` say which fields they are about."""


_FIELDS = ("left behind by the reference", "kept in the claim template")


def compare_case(case: Case, totals: Totals) -> None:
    """Compare what one case's creation made, and what is there after each later step until a deletion."""
    totals.cases += 1
    if case.facts.get("ignored"):
        totals.left_alone += 1
        return
    phase = phase_of(case.folder, 1)
    try:
        cluster = cluster_of(case)
    except InvalidSpec as error:
        if phase in FAILED:
            totals.refused += 1
        else:
            totals.unexplained.append(Deviation(case, "postgresql", "", "", str(error), phase, case.manifest))
        return
    others = Others()
    _compare_step(case, cluster, 1, totals, others)
    for number, step in enumerate(case.facts.get("steps") or (), start=2):
        if step.get("delete"):
            return
        if phase_of(case.folder, number) not in FAILED:
            case = after_step(case, step)
            live = facts_of(_latest(case.folder, "objects", number - 1))
            cluster = resolve(case.manifest, case.settings, references_of(case), live)
            edited = documents(case.folder / step.get("extra", "none"))
            _compare_step(case, cluster, number, totals, others, edited)


def after_step(case: Case, step: Mapping[str, Any]) -> Case:
    """The inputs after a step: `kubectl apply` of another manifest, or another configuration."""
    if (name := step.get("configuration")) is not None:
        case = replace(case, settings=settings_from_configuration(documents(case.folder / name)[0])[0])
    if (name := step.get("apply")) is not None:
        case = replace(case, manifest=_manifest(case.folder, name))
    return case


def facts_of(recorded: list[dict[str, Any]]) -> LiveFacts:
    """What is so already, of the objects that were recorded last."""
    streams = tuple(live_stream(b["metadata"]["name"], b["spec"]) for b in recorded if b["kind"] == STREAM_KIND)
    stateful_set = next((body for body in recorded if body["kind"] == "StatefulSet"), None)
    if stateful_set is None:
        return LiveFacts(event_streams=streams)
    env = stateful_set["spec"]["template"]["spec"]["containers"][0]["env"]
    document = next(entry["value"] for entry in env if entry["name"] == "SPILO_CONFIGURATION")
    template = stateful_set["spec"]["volumeClaimTemplates"][0]
    told = next((PgVersion.parse(entry["value"]) for entry in env if entry["name"] == "PGVERSION"), None)
    bootstrap = json.loads(document)["bootstrap"]
    return LiveFacts(
        exists=True, claim_template=template, spilo_bootstrap=bootstrap, version=told, at=NOW, event_streams=streams
    )


def _latest(folder: Path, what: str, number: int) -> list[dict[str, Any]]:
    """The documents of a step; a missing file means that they are as before."""
    for before in range(number, 1, -1):
        if (folder / f"{what}-{before}.yaml").exists():
            return documents(folder / f"{what}-{before}.yaml")
    return documents(folder / f"{what}.yaml")


def _compare_step(
    case: Case,
    cluster: Cluster,
    number: int,
    totals: Totals,
    others: Others,
    edited: Sequence[Mapping[str, Any]] = (),
) -> None:
    totals.steps += 1
    recorded = {_id(body): body for body in map(named, _latest(case.folder, "objects", number))}
    last = map(named, _latest(case.folder, "objects", number - 1)) if number > 1 else ()
    earlier = {_id(body): body for body in last}
    # A Secret that exists keeps its data, but for rotation; those of a pooler that is switched off go.
    secrets = {key: body for key, body in earlier.items() if key[0] == "Secret" and not _goes(key, cluster)}
    for body in edited:
        if (key := _id(body)) in secrets:
            secrets[key] = {**secrets[key], "stringData": body.get("stringData") or {}}
    after = rotated(cluster, {key[1:]: body for key, body in secrets.items()})
    before = {key: body for key, body in earlier.items() if not _goes(key, cluster)}
    before |= secrets | {("Secret", *place): body for place, body in after.items()}
    ours = our_objects(cluster, beforehand(case)) | _changed(case, cluster, number, others, recorded.keys(), before)
    if phase_of(case.folder, number) in FAILED:  # a creation that failed stopped on its way
        ours = {key: body for key, body in ours.items() if key in recorded}
    # What was there before and was not changed is not in the recording.
    for key in sorted({*ours, *recorded} - (beforehand(case).keys() - recorded.keys())):
        compare_object(case, key, (ours.get(key), recorded.get(key), earlier.get(key)), totals)


def _goes(key: Id, cluster: Cluster) -> bool:
    return (key[0], key[2]) in cluster.unwanted_poolers


def _changed(
    case: Case, cluster: Cluster, number: int, others: Others, recorded: Set[Id], earlier: Mapping[Id, dict[str, Any]]
) -> dict[Id, dict[str, Any]]:
    """Existing Secrets and what others made, as we leave them: those that we wrote, and those that were recorded."""
    status = (_latest(case.folder, "status", number) or [{}])[0]
    secrets = {key: body for key, body in earlier.items() if key[0] == "Secret"}
    held, written = others.after(cluster, status.get("pods") or (), status.get("claims") or (), secrets)
    shown = {*secrets, *written, *(key for key in recorded if key[0] in MADE_BY_OTHERS)}
    return {key: body for key, body in held.items() if key in shown}


def phase_of(folder: Path, number: int) -> str:
    status = (_latest(folder, "status", number) or [{}])[0].get("status") or {}
    return str(status.get("PostgresClusterStatus", ""))


def compare_object(case: Case, key: Id, bodies: tuple[Any, Any, Any], totals: Totals) -> None:
    (kind, _, name), (ours, recorded, earlier) = key, bodies
    totals.objects += 1
    if ours is None or recorded is None:
        _judge(Deviation(case, kind, name, "", ours and "made", recorded and "made", ours or recorded), totals)
        return
    mine, theirs, before = fields_of(ours), fields_of(recorded), fields_of(earlier or {})
    for path in sorted({*mine, *theirs}):
        totals.fields += 1
        if mine.get(path) != theirs.get(path) and not (earlier and path == _PASSWORD):
            _judge(Deviation(case, kind, name, path, mine.get(path), theirs.get(path), ours, before.get(path)), totals)


_PASSWORD = "stringData.password"
"""Of a Secret that existed: steps edit it by hand, which is nobody's doing."""


def _judge(deviation: Deviation, totals: Totals) -> None:
    for file, counter in (("differences.yaml", totals.intended), ("unfinished.yaml", totals.unfinished)):
        if (row := rule_for(deviation, file)) is not None:
            counter[row] += 1
            return
    totals.unexplained.append(deviation)


def compare_folders(folders: list[Path]) -> Totals:
    """Compare every case of `folders`."""
    totals = Totals()
    for folder in cases_in(folders):
        compare_case(read_case(folder), totals)
    return totals


def cases_in(folders: list[Path]) -> list[Path]:
    """The cases of folders; a folder with a manifest is a case itself."""
    found = []
    for folder in folders:
        found += [folder] if (folder / "manifest.yaml").exists() else sorted(p for p in folder.iterdir() if p.is_dir())
    return found
