"""Jobs and CronJobs, as far as backups need them: run pods until so many succeed, at times that a schedule names.

Not here: indexed completion, pod failure policies, suspension of a running Job.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from howdah.kube.errors import AlreadyExists, NotFound
from howdah.kube.resources import CRON_JOBS, JOBS, PODS
from howdah.local.controllers import podset
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import controller_of, controller_reference, is_active

DEFAULT_BACKOFF_LIMIT = 6
FIRST_BACKOFF_S = 10.0
LONGEST_BACKOFF_S = 360.0
MONTHS = {
    name: number + 1
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
}
DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron schedule: the values that each field may have."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Day of the month and day of the week are both restricted: one of them is enough."""

    def holds(self, moment: datetime) -> bool:
        """Whether it is due in this minute."""
        by_month, by_week = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        day = by_month or by_week if self.either_day else by_month and by_week
        return day and moment.month in self.months and moment.hour in self.hours and moment.minute in self.minutes

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last due minute in (after, until], at most a week back."""
        moment = until.replace(second=0, microsecond=0)
        earliest = max(after, until - timedelta(days=7))
        while moment > earliest:
            if self.holds(moment):
                return moment
            moment -= timedelta(minutes=1)
        return None


def _field(text: str, first: int, last: int, names: dict[str, int]) -> frozenset[int]:
    values: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        if span == "*":
            low, high = first, last
        else:
            begin, _, end = span.partition("-")
            low = names.get(begin, -1) if begin in names else int(begin)
            high = (names[end] if end in names else int(end)) if end else (last if step else low)
        if not first <= low <= high <= last:
            raise ValueError(f"{part!r} is not within {first}-{last}")
        values.update(range(low, high + 1, int(step or 1)))
    return frozenset(values)


def schedule(text: str) -> Schedule:
    """Parse `minute hour day month weekday`. Raises ValueError."""
    fields = MACROS.get(text, text).split()
    if len(fields) != 5:
        raise ValueError(f"{text!r} is no schedule: expected five fields or one of {', '.join(MACROS)}")
    weekdays = frozenset(day % 7 for day in _field(fields[4], 0, 7, DAYS))
    return Schedule(
        _field(fields[0], 0, 59, {}),
        _field(fields[1], 0, 23, {}),
        _field(fields[2], 1, 31, {}),
        _field(fields[3], 1, 12, MONTHS),
        weekdays,
        fields[2] != "*" and fields[4] != "*",
    )


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def _condition(kind: str, reason: str, message: str, now: datetime) -> dict[str, str]:
    return {
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastProbeTime": _stamp(now), "lastTransitionTime": _stamp(now),
    }  # fmt: skip


def end_of(job: Object, succeeded: int, failed: int, now: datetime) -> list[dict[str, str]]:
    """The conditions of a Job that has come to its end; none while it goes on."""
    spec, status = job["spec"], job.get("status") or {}
    completions = spec.get("completions")
    limit = spec.get("backoffLimit")
    deadline_s = spec.get("activeDeadlineSeconds")
    if succeeded >= (1 if completions is None else completions):
        return [
            _condition("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods", now),
            _condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods", now),
        ]
    reason, message = "", ""
    if failed > (DEFAULT_BACKOFF_LIMIT if limit is None else limit):
        reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    elif (
        deadline_s is not None
        and status.get("startTime")
        and now >= _moment(status["startTime"]) + timedelta(seconds=deadline_s)
    ):
        reason, message = "DeadlineExceeded", "Job was active longer than specified deadline"
    return [_condition(kind, reason, message, now) for kind in ("FailureTarget", "Failed")] if reason else []


def is_finished(job: Object) -> bool:
    """Complete or failed."""
    found = (job.get("status") or {}).get("conditions") or ()
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in found)


def jobs_controller(world: World) -> Controller:
    """Jobs: their pods."""

    async def reconcile(key: Key) -> float | None:
        job = world.caches.get(JOBS, *key)
        if job is None or job["metadata"].get("deletionTimestamp"):
            return None
        now = datetime.now(UTC)
        if is_finished(job):
            return await _expire(world, job, now)
        pods = podset.owned(world.caches.of(PODS, key[0]), job)
        active = [pod for pod in pods if is_active(pod)]
        succeeded = sum(1 for pod in pods if _phase(pod) == "Succeeded")
        failed = sum(1 for pod in pods if _phase(pod) == "Failed")
        conditions = end_of(job, succeeded, failed, now)
        await _write_status(world, job, len(active), succeeded, failed, conditions, now)
        if conditions:
            await _delete_pods(world, active)
            return None
        return await _start_pods(world, job, pods, active, succeeded, now)

    def keys(pod: Object) -> Sequence[Key]:
        reference = controller_of(pod)
        if reference is None or reference["kind"] != "Job":
            return ()
        return [(pod["metadata"]["namespace"], reference["name"])]

    return Controller(world, {JOBS: lambda job: [key_of(job)], PODS: keys}, reconcile)


async def _start_pods(
    world: World, job: Object, pods: Sequence[Object], active: Sequence[Object], succeeded: int, now: datetime
) -> float | None:
    spec = job["spec"]
    parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
    completions = 1 if spec.get("completions") is None else int(spec["completions"])
    missing = min(parallelism, completions - succeeded) - len(active)
    failures = [pod for pod in pods if _phase(pod) == "Failed"]
    if missing > 0 and failures:
        pause_s = min(FIRST_BACKOFF_S * 2 ** (len(failures) - 1), LONGEST_BACKOFF_S)
        made = max(_moment(pod["metadata"]["creationTimestamp"]) for pod in failures)
        wait_s = float(pause_s - (now - made).total_seconds())
        if wait_s > 0:
            return wait_s
    for _ in range(max(0, missing)):
        name = f"{job['metadata']['name']}-{secrets.token_hex(3)}"
        body = podset.template_pod(job, "batch/v1", "Job", name, world.node)
        await world.caches.seen(PODS, await world.client.create(PODS, body))
    return None if spec.get("activeDeadlineSeconds") is None else 1.0


async def _write_status(
    world: World, job: Object, active: int, succeeded: int, failed: int, conditions: list[dict[str, str]], now: datetime
) -> None:
    before = job.get("status") or {}
    status: dict[str, Any] = {"active": active, "ready": active, "succeeded": succeeded, "failed": failed}
    status["startTime"] = before.get("startTime") or _stamp(now)
    if conditions:
        status |= {"conditions": conditions, "active": 0, "ready": 0}
        if conditions[-1]["type"] == "Complete":
            status["completionTime"] = _stamp(now)
    if podset.changed(before, status):
        metadata = job["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await world.client.merge_patch(
            JOBS, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
        )


async def _delete_pods(world: World, pods: Sequence[Object]) -> None:
    for pod in pods:
        metadata = pod["metadata"]
        with contextlib.suppress(NotFound):
            await world.client.delete(PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])


async def _expire(world: World, job: Object, now: datetime) -> float | None:
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None:
        return None
    ended = max(_moment(entry["lastTransitionTime"]) for entry in job["status"]["conditions"])
    left_s = float(ttl_s - (now - ended).total_seconds())
    if left_s > 0:
        return left_s
    await _delete_job(world, job)
    return None


async def _delete_job(world: World, job: Object) -> None:
    metadata = job["metadata"]
    with contextlib.suppress(NotFound):
        await world.client.delete(
            JOBS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"], propagation="Background"
        )


def cron_jobs_controller(world: World) -> Controller:
    """CronJobs: a Job for each time that is due; only the last one of several missed times is made up for."""

    async def reconcile(key: Key) -> float | None:
        cron = world.caches.get(CRON_JOBS, *key)
        if cron is None or cron["metadata"].get("deletionTimestamp"):
            return None
        jobs = podset.owned(world.caches.of(JOBS, key[0]), cron)
        await _forget_old(world, cron, jobs)
        now = datetime.now(UTC)
        if not cron["spec"].get("suspend"):
            await _run_due(world, cron, jobs, now)
        return 60.0 - now.second + 0.5

    def keys(job: Object) -> Sequence[Key]:
        reference = controller_of(job)
        if reference is None or reference["kind"] != "CronJob":
            return ()
        return [(job["metadata"]["namespace"], reference["name"])]

    return Controller(world, {CRON_JOBS: lambda cron: [key_of(cron)], JOBS: keys}, reconcile)


async def _run_due(world: World, cron: Object, jobs: Sequence[Object], now: datetime) -> None:
    spec, status, metadata = cron["spec"], cron.get("status") or {}, cron["metadata"]
    zone = ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else UTC
    after = _moment(status.get("lastScheduleTime") or metadata["creationTimestamp"]).astimezone(zone)
    due = schedule(spec["schedule"]).latest(after, now.astimezone(zone))
    deadline_s = spec.get("startingDeadlineSeconds")
    if due is None or (deadline_s is not None and (now - due).total_seconds() > deadline_s):
        return
    running = [job for job in jobs if not is_finished(job)]
    policy = spec.get("concurrencyPolicy") or "Allow"
    if running and policy == "Forbid":
        return
    if policy == "Replace":
        for job in running:
            await _delete_job(world, job)
    template = spec["jobTemplate"]
    described = template.get("metadata") or {}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # By the minute, so that a time that was served already is not served twice.
            "name": f"{metadata['name']}-{int(due.timestamp()) // 60}",
            "namespace": metadata["namespace"],
            "labels": described.get("labels") or {},
            "annotations": described.get("annotations") or {},
            "ownerReferences": [controller_reference(cron, "batch/v1", "CronJob")],
        },
        "spec": template["spec"],
    }
    with contextlib.suppress(AlreadyExists):
        await world.caches.seen(JOBS, await world.client.create(JOBS, body))
    patch = {"metadata": {"uid": metadata["uid"]}, "status": {"lastScheduleTime": _stamp(due)}}
    await world.client.merge_patch(
        CRON_JOBS, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
    )


async def _forget_old(world: World, cron: Object, jobs: Sequence[Object]) -> None:
    for kind, field, default in (
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ):
        ended = [
            job
            for job in jobs
            if any(entry["type"] == kind for entry in (job.get("status") or {}).get("conditions") or ())
        ]
        ended.sort(key=lambda job: str(job["metadata"]["creationTimestamp"]))
        limit = cron["spec"].get(field)
        for job in ended[: max(0, len(ended) - (default if limit is None else limit))]:
            await _delete_job(world, job)
