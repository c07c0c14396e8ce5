"""A pod's status as Kubernetes shows it, from what is known of its containers. Pure; `now` is an argument."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from howdah.local.node.containers import Exit
from howdah.local.node.quantities import qos_class

MAX_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a start of a container ended."""

    exit: Exit
    container_id: str
    message: str = ""

    def as_status(self) -> dict[str, Any]:
        """The `terminated` state."""
        status: dict[str, Any] = {
            "exitCode": self.exit.code,
            "reason": "Completed" if self.exit.code == 0 else "Error",
            "startedAt": timestamp(self.exit.started),
            "finishedAt": timestamp(self.exit.finished),
            "containerID": self.container_id,
        }
        if self.exit.signal:
            status["signal"] = self.exit.signal
        if self.message:
            status["message"] = self.message[-MAX_MESSAGE:]
        return status


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container as the status shows it: running if `started_at`, else terminated if `ended`, else waiting."""

    name: str
    image: str
    waiting: str = "ContainerCreating"
    message: str = ""
    started_at: float | None = None
    ended: Terminated | None = None
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def state(self) -> str:
        """running, terminated or waiting."""
        if self.started_at is not None:
            return "running"
        return "terminated" if self.ended is not None else "waiting"


@dataclass(frozen=True, slots=True)
class PodView:
    """What a pod's status is made of. `finished`: nothing of it will ever run again."""

    containers: Sequence[ContainerView]
    init_containers: Sequence[ContainerView] = ()
    pod_ip: str = ""
    host_ip: str = "127.0.0.1"
    started_at: float | None = None
    finished: bool = False
    reason: str = ""
    message: str = field(default="")


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as the API writes them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(stamp: str) -> float:
    """The reverse of `timestamp`."""
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def _state(view: ContainerView) -> dict[str, Any]:
    if view.started_at is not None:
        return {"running": {"startedAt": timestamp(view.started_at)}}
    if view.ended is not None:
        return {"terminated": view.ended.as_status()}
    waiting = {"reason": view.waiting}
    if view.message:
        waiting["message"] = view.message
    return {"waiting": waiting}


def container_status(view: ContainerView) -> dict[str, Any]:
    """An entry of `containerStatuses`."""
    status = {
        "name": view.name,
        "image": view.image,
        "imageID": "" if view.state == "waiting" and view.last is None else view.image,
        "ready": view.ready and view.started_at is not None,
        "started": view.started and view.started_at is not None,
        "restartCount": view.restarts,
        "state": _state(view),
        "lastState": {"terminated": view.last.as_status()} if view.last else {},
    }
    if view.container_id:
        status["containerID"] = view.container_id
    return status


def is_initialized(views: Iterable[ContainerView]) -> bool:
    """Whether every init container has succeeded."""
    return all(view.ended is not None and view.ended.exit.code == 0 for view in views)


def phase(view: PodView, restart_policy: str) -> str:
    """Pending, Running, Succeeded or Failed, by the kubelet's rules."""
    if not view.finished and not is_initialized(view.init_containers):
        failed = any(init.ended and init.ended.exit.code for init in view.init_containers)
        return "Failed" if failed and restart_policy == "Never" else "Pending"
    states = [container.state for container in view.containers]
    ends = [container.ended or container.last for container in view.containers]
    if "running" in states and not view.finished:
        return "Running"
    if not view.finished and any(end is None for end in ends):
        return "Pending"
    failed = any(end is not None and end.exit.code for end in ends)
    if view.finished or restart_policy == "Never":
        return "Failed" if failed else "Succeeded"
    if restart_policy == "OnFailure" and not failed:
        return "Succeeded"
    return "Running"


def _conditions(view: PodView, now_phase: str) -> Iterable[tuple[str, bool, str, str]]:
    """(type, status, reason, message)."""
    initialized = is_initialized(view.init_containers)
    waiting = [container.name for container in view.init_containers if not container.ended]
    unready = [c.name for c in view.containers if not (c.ready and c.started_at is not None)]
    reason = "PodCompleted" if now_phase == "Succeeded" else "ContainersNotReady"
    reason = "PodFailed" if now_phase == "Failed" else reason
    text = "" if reason != "ContainersNotReady" else f"containers with unready status: [{' '.join(unready)}]"
    yield "PodScheduled", True, "", ""
    if initialized:
        yield "Initialized", True, "PodCompleted" if now_phase == "Succeeded" else "", ""
    else:
        yield (
            "Initialized",
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(waiting)}]",
        )
    for name in ("ContainersReady", "Ready"):
        ready = initialized and not unready
        yield name, ready, "" if ready else reason, "" if ready else text


def conditions(
    wanted: Iterable[tuple[str, bool, str, str]], before: Sequence[Mapping[str, Any]], now: float
) -> list[dict[str, Any]]:
    """Conditions whose transition time changes only with their status; those of others are kept."""
    old = {condition["type"]: condition for condition in before}
    result: list[dict[str, Any]] = []
    for name, holds, reason, message in wanted:
        status = "True" if holds else "False"
        previous = old.pop(name, {})
        same = previous.get("status") == status
        since = previous.get("lastTransitionTime") if same else None
        condition = {"type": name, "status": status, "lastProbeTime": None}
        condition["lastTransitionTime"] = since or timestamp(now)
        condition |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
        result.append(condition)
    return [*result, *(dict(condition) for condition in old.values())]


def pod_status(view: PodView, pod: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The whole status; `pod` is the live object, whose transition times are kept."""
    spec, before = pod["spec"], pod.get("status") or {}
    now_phase = phase(view, spec.get("restartPolicy", "Always"))
    wanted = _conditions(view, now_phase)
    status: dict[str, Any] = {
        "phase": now_phase,
        "conditions": conditions(wanted, before.get("conditions") or (), now),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "qosClass": qos_class(spec),
        "containerStatuses": [container_status(container) for container in view.containers],
    }
    if view.init_containers:
        status["initContainerStatuses"] = [container_status(container) for container in view.init_containers]
    if view.pod_ip:
        status |= {"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]}
    if view.started_at is not None:
        status["startTime"] = timestamp(view.started_at)
    return status | {key: text for key, text in (("reason", view.reason), ("message", view.message)) if text}
