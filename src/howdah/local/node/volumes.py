"""A pod's volumes as folders of this machine, and where each container would see them.

A claim's folder is made when the claim is bound and removed when its deletion is seen (`controllers/claims.py`);
a pod never makes one: a missing folder is an error that a person must see, not an empty database.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from howdah.local.files import write_whole
from howdah.local.node.environment import ConfigError, Mounts, References, pod_field
from howdah.local.node.fencing import User

SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def claim_folder(directory: Path, namespace: str, claim: str, uid: str) -> Path:
    """Where a claim's data lives; the uid keeps a later claim of the same name apart."""
    return directory / "volumes" / namespace / f"{claim}-{uid}"


def claims_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """Volume → claim, of each volume of the pod that is a claim."""
    found = ((volume["name"], volume.get("persistentVolumeClaim")) for volume in pod["spec"].get("volumes") or ())
    return {name: claim["claimName"] for name, claim in found if claim}


@dataclass(frozen=True, slots=True)
class Account:
    """What a pod needs to speak to the API as its service account."""

    token: str
    ca: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Content:
    """Where the content of volumes comes from."""

    references: References
    account: Account
    claims: Mapping[str, Path]


def own(path: Path, user: User | None) -> None:
    """Give a path to the containers' user, where that is not us."""
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def make_folder(path: Path, user: User | None) -> Path:
    """A private folder of the containers' user."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    own(path, user)
    return path


def write_file(path: Path, text: str, user: User | None) -> None:
    """Replace a private file as a whole."""
    make_folder(path.parent, user)
    write_whole(path, text.encode(), owner=(user.uid, user.gid) if user is not None else None, sync=False)


def _files_of_keys(keys: Mapping[str, str] | None, source: Mapping[str, Any], what: str) -> dict[str, str]:
    if keys is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f"{what} not found")
    items = source.get("items")
    if not items:
        return dict(keys)
    missing = [item["key"] for item in items if item["key"] not in keys]
    if missing and not source.get("optional"):
        raise ConfigError(f"{what} has no key {missing[0]}")
    return {item["path"]: keys[item["key"]] for item in items if item["key"] in keys}


def _files_of_fields(pod: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, str]:
    items = source.get("items") or ()
    return {item["path"]: pod_field(pod, item["fieldRef"]["fieldPath"]) for item in items if "fieldRef" in item}


def _projected(pod: Mapping[str, Any], sources: list[Mapping[str, Any]], content: Content) -> dict[str, str]:
    files: dict[str, str] = {}
    for source in sources:
        for kind, field in (("secret", "secret"), ("configmap", "configMap")):
            if reference := source.get(field):
                keys = content.references.keys(kind, reference["name"])
                files |= _files_of_keys(keys, reference, f'{kind} "{reference["name"]}"')
        if "downwardAPI" in source:
            files |= _files_of_fields(pod, source["downwardAPI"])
        if token := source.get("serviceAccountToken"):
            files[token["path"]] = content.account.token
    return files


def _files(pod: Mapping[str, Any], volume: Mapping[str, Any], content: Content) -> dict[str, str] | None:
    """The files of a volume that is made of texts; `None` for one that is a plain folder."""
    if secret := volume.get("secret"):
        name = secret["secretName"]
        return _files_of_keys(content.references.keys("secret", name), secret, f'secret "{name}"')
    if config_map := volume.get("configMap"):
        name = config_map["name"]
        return _files_of_keys(content.references.keys("configmap", name), config_map, f'configmap "{name}"')
    if "projected" in volume:
        return _projected(pod, volume["projected"].get("sources") or [], content)
    if "downwardAPI" in volume:
        return _files_of_fields(pod, volume["downwardAPI"])
    return None


def _inside(folder: Path, path: str) -> Path:
    """A path below the folder; the names come from objects that somebody wrote."""
    target = Path(os.path.normpath(folder / path))
    if not target.is_relative_to(folder):
        raise ConfigError(f"path {path!r} leaves its volume")
    return target


def _make_texts(folder: Path, files: Mapping[str, str], user: User | None) -> None:
    make_folder(folder, user)
    for path, text in files.items():
        write_file(_inside(folder, path), text, user)
    wanted = {_inside(folder, path) for path in files}
    for present in folder.rglob("*"):
        if present.is_file() and present not in wanted:
            present.unlink()


def make_volumes(pod: Mapping[str, Any], folder: Path, content: Content, user: User | None) -> dict[str, Path]:
    """Make every volume of the pod below `folder`; name → folder. Raises ConfigError."""
    made: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            made[name] = content.claims[claim["claimName"]]
        elif host := volume.get("hostPath"):
            made[name] = Path(host["path"])
        elif (files := _files(pod, volume, content)) is not None:
            made[name] = folder / name
            _make_texts(made[name], files, user)
        else:
            made[name] = make_folder(folder / name, user)
    account = {"token": content.account.token, "ca.crt": content.account.ca, "namespace": content.account.namespace}
    made[SERVICE_ACCOUNT_FOLDER] = folder / ".account"
    _make_texts(folder / ".account", account, user)
    return made


def mounts_of(container: Mapping[str, Any], volumes: Mapping[str, Path], user: User | None) -> Mounts:
    """(mount path, folder) of one container; a `subPath` is made if it is missing, as Kubernetes does."""
    found = [(SERVICE_ACCOUNT_FOLDER, str(volumes[SERVICE_ACCOUNT_FOLDER]))]
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise ConfigError(f'volumeMount {mount["mountPath"]}: the pod has no volume "{mount["name"]}"')
        target = volumes[mount["name"]]
        if sub := mount.get("subPath"):
            target = _inside(target, sub)
            if not target.exists():
                make_folder(target, user)
        found.append((mount["mountPath"], str(target)))
    return found


def remove_folder(folder: Path) -> None:
    """Remove a folder and all below it; links are removed, never followed."""
    shutil.rmtree(folder, ignore_errors=True)
