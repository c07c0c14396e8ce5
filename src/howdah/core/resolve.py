"""From a manifest, the operator's settings and referenced objects to the resolved request, or every problem at once.

Pure. Defaults live here and in `core.request`, whose modules decide one section each; builders have none. What a live
cluster is already (`LiveFacts`) wins over defaults, so that taking a cluster over changes nothing that its author did
not ask for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar, cast

from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.options import with_options
from howdah.core.postgres.prepared import DatabaseSection
from howdah.core.postgres.rotation import doubts as rotation_doubts
from howdah.core.request import faults, pooler
from howdah.core.request.asked import Asked, Json, LiveFacts, Reference, References
from howdah.core.request.configuration import dynamic_configuration, spilo_configuration
from howdah.core.request.containers import SCALYR_KEY, containers, has_scalyr, image
from howdah.core.request.environment import environment, hidden_variables
from howdah.core.request.identity import annotations, owner_references, service_account
from howdah.core.request.logical_backup import backup_credentials, logical_backup
from howdah.core.request.options import database_options, rotation_rules, user_options
from howdah.core.request.own import own_settings
from howdah.core.request.recovery import clone_credentials, follows_unsaid, is_standby, makes_standby
from howdah.core.request.roles import roles_elsewhere
from howdah.core.request.scheduling import affinity, tolerations
from howdah.core.request.services import budgets, services
from howdah.core.request.streams import stream_doubts, streams
from howdah.core.request.version import Version, may_upgrade, version_of, windows
from howdah.core.request.volumes import certificate_environment, claim_template, pod_volumes, shrinking, volume_bodies
from howdah.model import names
from howdah.model.cluster import (
    Access,
    Annotations,
    Cluster,
    DataVolume,
    EnvironmentSecret,
    Pod,
    RetentionPolicy,
    Rollout,
    SecretRequest,
    StatefulSetPolicy,
    StreamLink,
    Streams,
)
from howdah.model.coverage import unheeded
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.manifest import InvalidManifest, Manifest, parse_manifest
from howdah.model.names import Dcs, Key, LabelKeys, Names, Templates
from howdah.model.postgres.desired import Desired, DesiredPublication, Elsewhere, RoleRules
from howdah.model.settings import Settings

__all__ = [
    "LiveFacts",
    "Reference",
    "References",
    "UnresolvedSpec",
    "label_keys",
    "required_references",
    "resolve",
    "role_rules",
    "roles_and_databases",
]


class UnresolvedSpec(InvalidSpec):
    """A request that names objects which do not exist; `is_otherwise_valid` tells whether that is all."""

    def __init__(self, problems: Iterable[Problem], missing: tuple[Reference, ...]) -> None:
        """`problems` without those that `missing` are."""
        found = tuple(problems)
        self.missing = missing
        self.is_otherwise_valid = not found
        super().__init__((*found, *map(faults.missing, missing)))


def required_references(
    settings: Settings, namespace: str, spec: Mapping[str, Any] | None = None
) -> tuple[Reference, ...]:
    """The objects whose contents `resolve` wants, for a cluster in `namespace` with this `spec` as it is written."""
    return faults.required_references(settings, namespace, spec)


def resolve(
    raw: Mapping[str, Any],
    settings: Settings,
    references: References = References(),  # noqa: B008  # frozen
    live: LiveFacts = LiveFacts(),  # noqa: B008  # frozen
) -> Cluster:
    """The request that `raw` (a `postgresql` resource as decoded JSON) is.

    Raises InvalidSpec with every problem; UnresolvedSpec, one of it, where referenced objects are missing.
    """
    try:
        parsed = parse_manifest(raw)
    except InvalidManifest as invalid:
        raise _with_further(invalid, settings, references, live) from None
    asked = _asked(parsed.manifest, settings, references, live)
    account, problems = _tried(lambda: service_account(asked))
    streaming = streams(asked)
    access, left_out = _access(asked, streaming)
    roles = roles_and_databases(access, asked.names)
    problems += (*faults.faults(asked), *pooler.faults(asked), *roles.errors)
    absent = faults.missing_references(asked)
    if absent:
        raise UnresolvedSpec(problems, absent)
    if problems or account is None:
        raise InvalidSpec(problems)

    marks = annotations(asked)
    owners = owner_references(asked, tuple(raw["metadata"].get("ownerReferences") or ()))
    version = version_of(asked)
    spilo, instances = spilo_configuration(asked, version), _instances(asked)
    certificates = tuple(certificate_environment(asked.spec.tls))
    secrets = tuple(_secrets(asked, roles, marks, owners))
    env = environment(asked, version=version.told, spilo=spilo, certificates=certificates)
    following = makes_standby(env)
    return Cluster(
        key=Key(asked.names.namespace, asked.names.cluster),
        uid=asked.metadata.uid,
        generation=asked.metadata.generation,
        team=asked.spec.team_id,
        names=asked.names,
        labels=asked.labels,
        annotations=marks,
        owner_references=owners,
        pause=names.pause_of(asked.metadata.annotations),
        dcs=asked.dcs,
        version=version.told,
        asked_version=version.asked,
        image=image(asked),
        instances=instances,
        asked_instances=asked.spec.number_of_instances,
        is_standby=asked.is_standby,
        is_promoted=live.was_standby and not asked.is_standby and following is None,
        follows_by_variable=following is not None,
        spilo=spilo,
        dynamic=dynamic_configuration(asked),
        pod=_pod(asked, env),
        volume=_data_volume(asked, marks),
        stateful_set=_stateful_set(settings, instances),
        services=services(asked, marks.inherited),
        poolers=pooler.poolers(asked, marks, owners, infrastructure=access.elsewhere.infrastructure),
        unwanted_poolers=tuple(pooler.unwanted(asked, (request.name for request in secrets))),
        budgets=budgets(asked),
        secrets=secrets,
        environment_secret=_environment_secret(asked, marks, owners),
        logical_backup=logical_backup(asked, marks.job),
        streams=streaming,
        access=access,
        service_account=account,
        rollout=_rollout(asked, version),
        warnings=tuple(
            sorted(
                {
                    *parsed.warnings,
                    *roles.warnings,
                    *left_out,
                    *rotation_doubts(roles, access.rotation),
                    *hidden_variables(asked, env),
                    *follows_unsaid(asked, following),
                    *shrinking(asked),
                    *([version.held] if version.held is not None else ()),
                    *faults.doubts(asked),
                    *pooler.doubts(asked),
                    *stream_doubts(asked),
                    *unheeded(asked.spec),
                    *faults.changed_store(asked, _configured_store(settings)),
                }
            )
        ),
    )


def _with_further(invalid: InvalidManifest, settings: Settings, references: References, live: LiveFacts) -> InvalidSpec:
    """The same with what else is wrong: in the operator's settings, in references, in what only both together tell."""
    if invalid.sound is None:
        return invalid
    asked = _asked(invalid.sound, settings, references, live)
    _, further = _tried(lambda: service_account(asked))
    further += (*faults.faults(asked), *roles_and_databases(_access(asked, streams(asked))[0], asked.names).errors)
    wrong = {problem.path for problem in invalid.problems}
    about_stand_ins = {"metadata.name", "spec.teamId"} if wrong & _STOOD_IN else set()
    new = (problem for problem in further if problem.path not in wrong | about_stand_ins)
    absent = faults.missing_references(asked)
    problems = (*invalid.problems, *new)
    return UnresolvedSpec(problems, absent) if absent else InvalidSpec(problems)


_STOOD_IN = frozenset({"manifest", "metadata", "metadata.name", "spec", "spec.teamId"})
"""Where these are wrong, a name or a team stands in for them, of which nothing may be said."""

Section = TypeVar("Section")


def _tried(decide: Callable[[], Section]) -> tuple[Section | None, tuple[Problem, ...]]:
    try:
        return decide(), ()
    except ValueError as error:
        return None, (Problem.of("configuration.kubernetes", error),)


def _configured_store(settings: Settings) -> Dcs:
    if settings.etcd_host:
        return "etcd"
    return "configmaps" if settings.kubernetes_use_configmaps else "endpoints"


def label_keys(settings: Settings) -> LabelKeys:
    """The label options, for finding objects also where the manifest is not valid."""
    return LabelKeys(
        settings.cluster_labels, settings.cluster_name_label, settings.pod_role_label, settings.inherited_labels
    )


def _asked(manifest: Manifest, settings: Settings, references: References, live: LiveFacts) -> Asked:
    metadata, spec = manifest.metadata, manifest.spec
    templates = Templates(
        settings.secret_name_template,
        settings.pdb_name_format,
        settings.pod_service_account_name,
        settings.logical_backup_job_prefix,
    )
    namespace = metadata.namespace or "default"
    return Asked(
        spec=spec,
        metadata=metadata,
        settings=own_settings(spec, settings),
        references=references,
        live=live,
        names=Names(namespace, metadata.name, live.dcs or _configured_store(settings), templates),
        labels=label_keys(settings).labels(metadata.name, spec.team_id, metadata.labels),
        is_standby=is_standby(spec),
    )


def _instances(asked: Asked) -> int:
    """The manifest's number within the operator's limits; -1 is no limit, 0 is one."""
    settings, wanted = asked.settings, asked.spec.number_of_instances
    if asked.is_annotated(settings.ignore_instance_limits_annotation_key):
        return wanted
    if asked.is_standby and wanted == 1:
        return 1
    if settings.max_instances >= 0:
        wanted = min(wanted, settings.max_instances)
    return max(wanted, settings.min_instances)


def _pod(asked: Asked, env: tuple[Json, ...]) -> Pod:
    spec, settings = asked.spec, asked.settings
    volumes = pod_volumes(asked)
    ids = {
        "runAsUser": settings.spilo_runasuser if spec.spilo_run_as_user is None else spec.spilo_run_as_user,
        "runAsGroup": settings.spilo_runasgroup if spec.spilo_run_as_group is None else spec.spilo_run_as_group,
        "fsGroup": settings.spilo_fsgroup if spec.spilo_fs_group is None else spec.spilo_fs_group,
    }
    return Pod(
        service_account=asked.names.service_account,
        termination_grace_s=int(settings.pod_terminate_grace_period.seconds),
        init_containers=tuple(spec.init_containers or ()),
        containers=containers(asked, env, volumes),
        volumes=volume_bodies(volumes),
        security_context={name: value for name, value in ids.items() if value is not None},
        affinity=affinity(asked, apart=asked.labels.full),
        tolerations=tolerations(asked),
        topology_spread=tuple(spec.topology_spread_constraints or ()),
        priority_class=spec.pod_priority_class_name or settings.pod_priority_class_name,
        scheduler=spec.scheduler_name or "",
    )


def _data_volume(asked: Asked, marks: Annotations) -> DataVolume:
    volume = asked.spec.volume
    return DataVolume(
        size=volume.size,
        claim_template=claim_template(asked, marks.inherited),
        iops=volume.iops,
        throughput=volume.throughput,
        type=volume.type or "",
    )


def _stateful_set(settings: Settings, instances: int) -> StatefulSetPolicy:
    """Fewer instances are a word for volumes of replicas: 0 would be one for the leader's, and that is not asked for."""
    policy = settings.persistent_volume_claim_retention_policy
    words: Mapping[str, RetentionPolicy] = {"delete": "Delete"}
    return StatefulSetPolicy(
        pod_management="Parallel" if settings.pod_management_policy == "parallel" else "OrderedReady",
        claims_when_deleted=words.get(policy.get("when_deleted", ""), "Retain"),
        claims_when_scaled=words.get(policy.get("when_scaled", ""), "Retain") if instances > 0 else "Retain",
    )


def _access(asked: Asked, streaming: Streams) -> tuple[Access, tuple[Problem, ...]]:
    """And which roles from beside the manifest are left out."""
    spec, settings = asked.spec, asked.settings
    prepared = spec.prepared_databases
    is_md5 = (spec.postgresql.parameters or {}).get("password_encryption") == "md5"
    access = Access(
        super_username=settings.super_username,
        replication_username=settings.replication_username,
        admin_role=settings.team_admin_role if settings.enable_admin_role_for_users else "",
        protected=settings.protected_role_names,
        additional_owner_roles=settings.additional_owner_roles,
        cross_namespace_secrets=settings.enable_cross_namespace_secret,
        users=spec.users or {},
        databases=spec.databases or {},
        prepared_databases=None
        if prepared is None
        else {name: section.model_dump(by_alias=True, exclude_none=True) for name, section in prepared.items()},
        user_options=user_options(spec),
        database_options=database_options(spec),
        rotation=rotation_rules(spec, settings),
        password_encryption="md5" if is_md5 else "scram-sha-256",
        stream_user=names.STREAM_USER if streaming.is_wanted else "",
        publications=_publications(streaming),
        is_enabled=settings.enable_database_access,
        sends_clear_text=asked.is_annotated(names.CLEAR_TEXT_PASSWORD),
        elsewhere=Elsewhere(),
        lookup=pooler.lookup(asked),
    )
    elsewhere, left_out = roles_elsewhere(asked, role_rules(access, asked.names))
    # Their Secrets repeat another one: what it says is their password.
    copied = access.rotation.ignored | {role.name for role in elsewhere.infrastructure}
    return replace(access, elsewhere=elsewhere, rotation=replace(access.rotation, ignored=copied)), left_out


def _publications(streaming: Streams) -> tuple[StreamLink, ...]:
    wanted = (link for stream in streaming.of_applications for link in stream.links if streaming.are_served)
    return (*wanted, *streaming.leaving)


def role_rules(access: Access, cluster: Names) -> RoleRules:
    """What `core.postgres` has to know beside the sections of the manifest."""
    return RoleRules(
        cluster=cluster.cluster,
        namespace=cluster.namespace,
        super_username=access.super_username,
        replication_username=access.replication_username,
        admin_role=access.admin_role,
        protected=access.protected,
        additional_owner_roles=access.additional_owner_roles,
        cross_namespace_secrets=access.cross_namespace_secrets,
        lookup=access.lookup,
        stream_user=access.stream_user,
    )


def roles_and_databases(access: Access, cluster: Names) -> Desired:
    """The roles and databases that the request means."""
    prepared = cast(Mapping[str, DatabaseSection | None] | None, access.prepared_databases)
    rules = role_rules(access, cluster)
    plain = desired_state(access.users, access.databases, prepared, rules=rules, elsewhere=access.elsewhere)
    desired = with_options(plain, access.user_options, access.database_options, rules=rules)
    publications = (DesiredPublication(p.name, p.database, p.tables) for p in access.publications)
    return replace(desired, publications=tuple(publications))


def _secrets(asked: Asked, roles: Desired, marks: Annotations, owners: tuple[Json, ...]) -> Iterable[SecretRequest]:
    """One for each role with a password; owners only in the cluster's namespace, for references do not cross."""
    for role in roles.roles:
        if role.password is None:
            continue
        user, namespace = role.password.user, role.password.namespace
        is_foreign = namespace != asked.names.namespace
        of_cluster = {names.CLUSTER: f"{asked.names.namespace}/{asked.names.cluster}"} if is_foreign else {}
        yield SecretRequest(
            name=asked.names.secret(user),
            namespace=namespace,
            role=_kind_of_role(user, asked.settings),
            username=user,
            labels=_labels_of_secret(user, asked),
            annotations={**marks.inherited, **of_cluster},
            owner_references=() if is_foreign else owners,
            origin=role.password_origin,
        )


def _labels_of_secret(user: str, asked: Asked) -> Mapping[str, str]:
    if user == names.POOLER_USER and pooler.wanted(asked):
        return asked.labels.pooler_selector(asked.names.pooler(names.LEADER_ROLE))
    return asked.labels.full


def _kind_of_role(user: str, settings: Settings) -> Literal["superuser", "replication", "user"]:
    if user == settings.super_username:
        return "superuser"
    return "replication" if user == settings.replication_username else "user"


def _environment_secret(asked: Asked, marks: Annotations, owners: tuple[Json, ...]) -> EnvironmentSecret | None:
    values = clone_credentials(asked.spec.clone) | backup_credentials(asked)
    if has_scalyr(asked):
        values[SCALYR_KEY] = asked.settings.scalyr_api_key
    if not values:
        return None
    return EnvironmentSecret(
        name=asked.names.environment_secret,
        namespace=asked.names.namespace,
        labels=asked.labels.full,
        annotations=marks.inherited,
        owner_references=owners,
        values=values,
    )


def _rollout(asked: Asked, version: Version) -> Rollout:
    settings = asked.settings
    return Rollout(
        is_image_lazy=settings.enable_lazy_spilo_upgrade,
        maintenance_windows=windows(asked),
        may_upgrade=may_upgrade(asked),
        version_held=str(version.held) if version.held is not None else "",
        version_held_until=version.until,
        resize_mode=settings.storage_resize_mode,
        gp3_below_gib=settings.enable_ebs_gp3_migration_max_size if settings.enable_ebs_gp3_migration else None,
        ready_node_labels=settings.node_readiness_label,
        move_timeout_s=settings.master_pod_move_timeout.seconds,
        ignored_annotations=settings.ignored_annotations,
    )
