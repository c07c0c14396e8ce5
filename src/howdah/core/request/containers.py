"""The containers of a database pod: postgres, then sidecars from four sources, of which the first of a name counts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.core.request.asked import Asked, Json
from howdah.core.request.environment import Environment, sidecar_environment
from howdah.core.request.recovery import from_secret, variable
from howdah.core.request.resources import postgres_bounds, postgres_defaults, resources, scalyr_defaults
from howdah.core.request.volumes import Volume, data_mount
from howdah.model import names
from howdah.model.cluster import Container
from howdah.model.settings import Settings
from howdah.model.spec import Sidecar

SCALYR_KEY = "SCALYR_API_KEY"
_PULL = "IfNotPresent"
_READINESS = {
    "httpGet": {"path": "/readiness", "port": names.PATRONI_PORT, "scheme": "HTTP"},
    "initialDelaySeconds": 6,
    "periodSeconds": 10,
    "timeoutSeconds": 5,
    "successThreshold": 1,
    "failureThreshold": 3,
}


def containers(asked: Asked, env: Environment, volumes: Iterable[Volume]) -> tuple[Container, ...]:
    """All containers with their mounts; postgres is the first."""
    mounted = tuple(volumes)
    found: dict[str, Json] = {}
    for body in (_postgres(asked, env), *_sidecars(asked)):
        found.setdefault(str(body["name"]), body)
    return tuple(Container(_with_mounts(body, asked, mounted)) for body in found.values())


def has_scalyr(asked: Asked) -> bool:
    """The log agent runs when its key and its image are known."""
    return bool(asked.settings.scalyr_api_key and asked.settings.scalyr_image)


def _with_mounts(body: Json, asked: Asked, volumes: tuple[Volume, ...]) -> Json:
    own = tuple(body.get("volumeMounts") or ())
    added = (data_mount(asked), *(volume.mount for volume in volumes if volume.is_mounted_in(body["name"])))
    return {**body, "volumeMounts": [*own, *added]}


def image(asked: Asked) -> str:
    """The image of the database container."""
    return asked.spec.docker_image or asked.settings.docker_image


def _postgres(asked: Asked, env: Environment) -> Json:
    settings, spec = asked.settings, asked.spec
    is_unbounded = asked.is_annotated(settings.ignore_resources_limits_annotation_key)
    body: dict[str, Any] = {
        "name": names.POSTGRES_CONTAINER,
        "image": image(asked),
        "imagePullPolicy": _PULL,
        "ports": [{"containerPort": port, "protocol": "TCP"} for port in names.POD_PORTS],
        "env": list(env),
        "securityContext": _with_capabilities(settings),
        "resources": resources(
            spec.resources,
            postgres_defaults(settings),
            bounds=None if is_unbounded else postgres_bounds(settings),
            memory_request_is_limit=settings.set_memory_request_to_limit,
        ),
    }
    optional = {
        "envFrom": list(spec.env_from or ()),
        "readinessProbe": _READINESS if settings.enable_readiness_probe else None,
        "livenessProbe": with_probe_defaults(spec.liveness_probe or settings.liveness_probe),
    }
    return body | {key: value for key, value in optional.items() if value}


def security_context(settings: Settings) -> dict[str, Any]:
    """What containers that the operator makes may do, without more capabilities."""
    return {
        "allowPrivilegeEscalation": settings.spilo_allow_privilege_escalation,
        "privileged": settings.spilo_privileged,
        "readOnlyRootFilesystem": False,
    }


def _with_capabilities(settings: Settings) -> Json:
    context = security_context(settings)
    if settings.additional_pod_capabilities:
        context["capabilities"] = {"add": [name.upper() for name in settings.additional_pod_capabilities]}
    return context


def with_probe_defaults(probe: Mapping[str, Any] | None) -> Json | None:
    """A probe with what the API server fills in, so that it compares equal later."""
    if not probe:
        return None
    filled = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, **probe}
    if isinstance(filled.get("httpGet"), Mapping):
        filled["httpGet"] = {"path": "/", "scheme": "HTTP", **filled["httpGet"]}
    return filled


def _sidecars(asked: Asked) -> Iterator[Json]:
    for index, sidecar in enumerate(asked.spec.sidecars or ()):
        yield _of_manifest(index, sidecar, asked)
    for body in asked.settings.sidecars:
        yield {**body, "env": list(sidecar_environment(body.get("env") or (), asked))}
    for name, where in sorted(asked.settings.sidecar_docker_images.items()):
        yield _sidecar(Sidecar.model_construct(name=name, image=where), name, asked)
    if has_scalyr(asked):
        yield _scalyr(asked)


def _of_manifest(index: int, sidecar: Sidecar, asked: Asked) -> Json:
    body = _sidecar(sidecar, sidecar.name or f"sidecar-{index}", asked)
    optional = {"ports": list(sidecar.ports or ()), "command": list(sidecar.command or ())}
    return body | {key: value for key, value in optional.items() if value}


def _sidecar(sidecar: Sidecar, name: str, asked: Asked) -> dict[str, Any]:
    is_limit = asked.settings.set_memory_request_to_limit
    defaults = postgres_defaults(asked.settings)
    return {
        "name": name,
        "image": sidecar.image,
        "imagePullPolicy": _PULL,
        "env": list(sidecar_environment(sidecar.env or (), asked)),
        "resources": resources(sidecar.resources, defaults, memory_request_is_limit=is_limit),
    }


def _scalyr(asked: Asked) -> Json:
    settings = asked.settings
    own = [
        from_secret(SCALYR_KEY, asked.names.environment_secret, SCALYR_KEY),
        variable("SCALYR_SERVER_HOST", asked.names.cluster),
    ]
    if settings.scalyr_server_url:
        own.append(variable("SCALYR_SERVER_URL", settings.scalyr_server_url))
    is_limit = settings.set_memory_request_to_limit
    return {
        "name": names.SCALYR_CONTAINER,
        "image": settings.scalyr_image,
        "imagePullPolicy": _PULL,
        "env": list(sidecar_environment(own, asked)),
        "resources": resources(None, scalyr_defaults(settings), memory_request_is_limit=is_limit),
    }
