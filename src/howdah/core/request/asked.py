"""What is asked, side by side: the manifest, the operator's settings, referenced objects, and live facts that win."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from howdah.core.postgres.infrastructure import RoleSecret
from howdah.model.names import Dcs, Labels, Names
from howdah.model.postgres.people import NOBODY, Membership
from howdah.model.settings import Settings
from howdah.model.spec import Metadata, Spec
from howdah.model.units import PgVersion

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An object that has to be read first, in the first of `namespaces` that has it; empty is the operator's own.

    `option`: the path of the option or of the field that names it, for people.
    """

    kind: Literal["ConfigMap", "Secret"]
    name: str
    namespaces: tuple[str, ...]
    option: str = field(default="", compare=False)

    def __str__(self) -> str:
        """`Secret pod-env in namespace team-a`."""
        places = " or ".join(namespace or "the operator's" for namespace in self.namespaces)
        return f"{self.kind} {self.name} in namespace {places}"


@dataclass(frozen=True, slots=True)
class References:
    """What the referenced objects hold: whole ConfigMaps, of Secrets only the keys. A missing object is not in it.

    Of the Secrets of infrastructure roles the names of roles are here, too; passwords never are. `membership` is what is
    known of teams.
    """

    config_maps: Mapping[Reference, Mapping[str, str]] = field(default_factory=dict)
    secret_keys: Mapping[Reference, tuple[str, ...]] = field(default_factory=dict)
    role_secrets: Mapping[Reference, RoleSecret] = field(default_factory=dict)
    membership: Membership = NOBODY

    def __contains__(self, reference: Reference) -> bool:
        return reference in (self.config_maps if reference.kind == "ConfigMap" else self.secret_keys)

    def with_placeholders(self, missing: Iterable[Reference]) -> "References":
        """The same with a marked stand-in for each of `missing`, for a rendering that nobody applies."""
        config_maps, secret_keys = dict(self.config_maps), dict(self.secret_keys)
        for reference in missing:
            mark = f"<keys of {reference}>"
            if reference.kind == "ConfigMap":
                config_maps[reference] = {mark: "<unknown>"}
            else:
                secret_keys[reference] = (mark,)
        return replace(self, config_maps=config_maps, secret_keys=secret_keys)


@dataclass(frozen=True, slots=True)
class LiveStream:
    """An object of streams that exists, and what it reads from: (database, slot)."""

    name: str
    application: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """What is so already and wins over defaults; nothing of it for a cluster that does not exist yet.

    `claim_template`: of the live StatefulSet. `spilo_bootstrap`: section `bootstrap` of the SPILO_CONFIGURATION of its
    pod template. `dcs`: where Patroni keeps the state of this cluster, `etcd_host`: in which etcd. `version`: the major
    that its pod template tells. `was_standby`: its manifest was seen to ask for a standby cluster, and nobody has promoted
    that since. `at`: the moment of the look; without one no maintenance window is asked about. `users_changed`: by the
    name of a pooler's user list, when a password in it was changed last; its pods have to be made after that.
    `serves_event_streams`: Kubernetes knows the kind FabricEventStream, and lets us see it.
    """

    exists: bool = False
    dcs: Dcs | None = None
    etcd_host: str = ""
    claim_template: Json | None = None
    spilo_bootstrap: Json | None = None
    version: PgVersion | None = None
    was_standby: bool = False
    at: datetime | None = None
    users_changed: Mapping[str, str] = field(default_factory=dict)
    event_streams: tuple[LiveStream, ...] = ()
    serves_event_streams: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that a section is decided from."""

    spec: Spec
    metadata: Metadata
    settings: Settings
    references: References
    live: LiveFacts
    names: Names
    labels: Labels
    is_standby: bool

    @property
    def dcs(self) -> Dcs:
        return self.names.dcs

    def is_annotated(self, key: str) -> bool:
        """Whether the resource carries annotation `key` with the value "true"; an empty key is nowhere."""
        return bool(key) and self.metadata.annotations.get(key) == "true"


def environment_config_map(settings: Settings, namespace: str) -> Reference | None:
    """The ConfigMap whose entries become variables: looked for where it is said to be, then in the cluster's own."""
    named = settings.pod_environment_configmap
    if named is None:
        return None
    places = tuple(dict.fromkeys((named.namespace, namespace)))
    return Reference("ConfigMap", named.name, places, "configuration.kubernetes.pod_environment_configmap")


def backup_environment_secret(settings: Settings, namespace: str) -> Reference | None:
    """The Secret of the cluster's namespace whose entries become variables of the logical backup."""
    name = settings.logical_backup_cronjob_environment_secret
    option = "configuration.logical_backup.logical_backup_cronjob_environment_secret"
    return Reference("Secret", name, (namespace,), option) if name else None


def environment_secret(settings: Settings, namespace: str) -> Reference | None:
    """The Secret of the cluster's namespace whose entries become variables."""
    name = settings.pod_environment_secret
    return Reference("Secret", name, (namespace,), "configuration.kubernetes.pod_environment_secret") if name else None
