"""The volumes of a pod, where its containers mount them, and the claim of each member."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.core.request.asked import Asked, Json
from howdah.core.request.recovery import variable
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.spec import AdditionalVolume, ObjectStore, Tls
from howdah.model.units import Quantity

_ALL = "all"
_OWNER_AND_GROUP_READ = 0o640


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the pod and its mount. `targets`: container names, or `all`."""

    body: Json
    mount: Json
    targets: tuple[str, ...] = (names.POSTGRES_CONTAINER,)

    def is_mounted_in(self, container: str) -> bool:
        return _ALL in self.targets or container in self.targets

    def meets(self, other: "Volume") -> bool:
        """Whether some container may mount both."""
        return _ALL in self.targets or any(other.is_mounted_in(container) for container in self.targets)


def data_mount(asked: Asked) -> Json:
    """Where every container of ours sees the data volume."""
    volume = asked.spec.volume
    return _mount(names.DATA_VOLUME, names.DATA_MOUNT, volume.sub_path, is_expression=bool(volume.is_sub_path_expr))


def pod_volumes(asked: Asked) -> tuple[Volume, ...]:
    """All volumes but the data volume, in the contract's order."""
    return (*_memory_volumes(asked), *additional_secret(asked), *_archive_credentials(asked), *_additional(asked))


CertificateVariables = tuple[str, str, str]
"""The names of the variables of certificate, key and authority."""

OF_SERVER: CertificateVariables = ("SSL_CERTIFICATE_FILE", "SSL_PRIVATE_KEY_FILE", "SSL_CA_FILE")


def volume_bodies(volumes: Iterable[Volume]) -> tuple[Json, ...]:
    """What the pod has; a Secret that is mounted twice is one volume."""
    found: list[Json] = []
    for volume in volumes:
        if volume.body not in found:
            found.append(volume.body)
    return tuple(found)


def clashes(asked: Asked) -> Iterator[Problem]:
    """Volumes of the manifest that have the name or the place of another one of the pod."""
    volumes = pod_volumes(asked)
    of_manifest = {volume.name: index for index, volume in enumerate(asked.spec.additional_volumes or ())}
    for volume in volumes:
        name, path = str(volume.body["name"]), volume.mount["mountPath"]
        others = [other for other in volumes if other is not volume]
        if name not in of_manifest:
            continue
        place = f"spec.additionalVolumes[{of_manifest[name]}]"
        is_taken = any(other.body["name"] == name and other.body != volume.body for other in others)
        if is_taken or name == names.DATA_VOLUME:
            yield Problem(f"{place}.name", f'"{name}" is the name of another volume of the pod', "choose another one")
        if any(other.mount["mountPath"] == path and other.meets(volume) for other in others):
            yield Problem(f"{place}.mountPath", f'"{path}" is taken by another volume', "mount it elsewhere")


def certificate_environment(tls: Tls | None, variables: CertificateVariables = OF_SERVER) -> Iterator[Json]:
    """The variables that name the certificate."""
    if tls is None or not tls.secret_name:
        return
    certificate, key, authority = variables
    yield variable(certificate, _below(names.TLS_MOUNT, tls.certificate_file or "tls.crt"))
    yield variable(key, _below(names.TLS_MOUNT, tls.private_key_file or "tls.key"))
    if tls.ca_file:
        folder = names.TLS_CA_MOUNT if tls.ca_secret_name else names.TLS_MOUNT
        yield variable(authority, _below(folder, tls.ca_file))


def _below(folder: str, file: str) -> str:
    return file if file.startswith("/") else f"{folder}/{file}"


def _mount(name: str, path: str, sub_path: str | None = None, *, is_expression: bool = False) -> Json:
    mount = {"name": name, "mountPath": path}
    if sub_path:
        mount["subPathExpr" if is_expression else "subPath"] = sub_path
    return mount


def _memory_volumes(asked: Asked) -> Iterator[Volume]:
    # A false in the manifest does not win over the operator's true: the reference's rule, and pods rely on the volume.
    if asked.spec.enable_shm_volume or asked.settings.enable_shm_volume:
        yield Volume(_memory(names.SHM_VOLUME), _mount(names.SHM_VOLUME, names.SHM_MOUNT))
    if asked.settings.share_pgsocket_with_sidecars:
        mount = _mount(names.SOCKET_VOLUME, names.SOCKET_MOUNT)
        yield Volume(_memory(names.SOCKET_VOLUME), mount, (_ALL,))


def _memory(name: str) -> Json:
    return {"name": name, "emptyDir": {"medium": "Memory"}}


def additional_secret(asked: Asked) -> Iterator[Volume]:
    """The operator's Secret that every container sees, where there is one."""
    name = asked.settings.additional_secret_mount
    path = asked.settings.additional_secret_mount_path
    if name and path:
        yield Volume({"name": name, "secret": {"secretName": name}}, _mount(name, path), (_ALL,))


def _additional(asked: Asked) -> Iterator[Volume]:
    """The manifest's volumes, then the certificates; whose path is taken is left out, mount and all."""
    taken = {names.DATA_MOUNT}
    for volume in (*map(_of_manifest, asked.spec.additional_volumes or ()), *certificate_volumes(asked.spec.tls)):
        path = str(volume.mount["mountPath"])
        if path not in taken:
            taken.add(path)
            yield volume


def _of_manifest(volume: AdditionalVolume) -> Volume:
    mount = _mount(volume.name, volume.mount_path, volume.sub_path, is_expression=bool(volume.is_sub_path_expr))
    targets = volume.target_containers or (names.POSTGRES_CONTAINER,)
    return Volume({"name": volume.name, **volume.volume_source}, mount, targets)


def certificate_volumes(tls: Tls | None) -> Iterator[Volume]:
    """The Secrets of the certificate and of its authority."""
    if tls is None or not tls.secret_name:
        return
    yield _certificate(tls.secret_name, names.TLS_MOUNT)
    if tls.ca_file and tls.ca_secret_name:
        yield _certificate(tls.ca_secret_name, names.TLS_CA_MOUNT)


def _archive_credentials(asked: Asked) -> Iterator[Volume]:
    if asked.spec.archive is not None:
        yield from _key_file(asked.spec.archive, names.ARCHIVE_CREDENTIALS, names.ARCHIVE_CREDENTIALS_MOUNT)


def backup_credentials_volume(asked: Asked) -> Iterator[Volume]:
    """What the logical backup's job mounts of its own target."""
    section = asked.spec.logical_backup
    if section is not None and section.target is not None:
        yield from _key_file(section.target, names.BACKUP_CREDENTIALS, names.BACKUP_CREDENTIALS_MOUNT)


def _key_file(store: ObjectStore, name: str, path: str) -> Iterator[Volume]:
    """Google's credentials are a file."""
    if store.provider != "gcs" or store.credentials_secret is None:
        return
    source = {"secretName": store.credentials_secret, "defaultMode": _OWNER_AND_GROUP_READ}
    yield Volume({"name": name, "secret": source}, _mount(name, path))


def _certificate(secret: str, path: str) -> Volume:
    source = {"secretName": secret, "defaultMode": _OWNER_AND_GROUP_READ}
    return Volume({"name": secret, "secret": source}, _mount(secret, path))


def claim_template(asked: Asked, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The template of the members' claims.

    Of a live one stay: labels, for the API does not let them change, the class where the manifest is silent, and a
    larger size, for volumes do not shrink.
    """
    volume, live = asked.spec.volume, asked.live.claim_template or {}
    live_spec: Mapping[str, Any] = live.get("spec") or {}
    metadata: dict[str, Any] = {
        "name": names.DATA_VOLUME,
        "labels": dict((live.get("metadata") or {}).get("labels") or asked.labels.full),
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(max(volume.size, _live_size(live_spec)))}},
        "volumeMode": live_spec.get("volumeMode") or "Filesystem",
    }
    if storage_class := volume.storage_class or live_spec.get("storageClassName"):
        spec["storageClassName"] = storage_class
    if volume.selector:
        spec["selector"] = volume.selector
    return {"metadata": metadata, "spec": spec}


def shrinking(asked: Asked) -> Iterator[Problem]:
    """A warning where the manifest asks for less than there is."""
    live = _live_size((asked.live.claim_template or {}).get("spec") or {})
    if asked.spec.volume.size < live:
        message = f"{asked.spec.volume.size} is less than {live}: volumes do not shrink, nothing is done"
        yield Problem("spec.volume.size", message, f"write {live}")


def _live_size(claim_spec: Mapping[str, Any]) -> Quantity:
    written = ((claim_spec.get("resources") or {}).get("requests") or {}).get("storage")
    return Quantity.parse(str(written)) if written else Quantity(0)
