"""The whole platform with trivial programs: real API server, real processes, real sockets."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from adapters.local.conftest import DAEMONISER
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.resources import (
    CONFIGMAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.kube.watch import watch
from howdah.local import supervisor, up
from howdah.local.configuration import Platform
from howdah.local.node import fencing, processes, volumes
from howdah.local.platform import node_name
from steady import HANGS_S

NS = "default"
PORT = 8080  # one that an ordinary user may open

SERVER = """
import os, socket, sys, threading
print("serving", os.environ["POD_IP"], flush=True)
listener = socket.create_server((os.environ["POD_IP"], 5555), backlog=100)
def talk(sock):
    while data := sock.recv(1000):
        sock.sendall(os.environ["HOSTNAME"].encode() + b":" + data)
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
"""

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
ROLES = {
    "sleeper": (PYTHON, "-S", "-c", "import time; time.sleep(1e6)"),
    "server": (PYTHON, "-S", "-c", SERVER),
    "daemon": (PYTHON, "-S", "-c", DAEMONISER, "1e6"),
    "shell": ("sh", "-c"),
    "lacking": ("sh", "-c"),
}


def public_folder() -> Path:
    """A new folder that an unprivileged user can pass through; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="howdah-test-", dir="/tmp"))
    folder.chmod(0o711)
    return folder.resolve()


@pytest.fixture(scope="module", params=("best", "scan"))
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform for all tests of this file, with the best fencing of the machine and with the fallback."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "best":
            patch.setenv(fencing.SWITCH, request.param)
        parent = public_folder()
        found = Platform(parent / "p", ROLES, needs={"lacking": ("no-such-program", "install it")})
        asyncio.run(up.up(found))
        yield found
        asyncio.run(up.down(found.directory))
        assert not found.directory.exists()
        assert not found.runtime.exists()
        parent.rmdir()


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[Client]:
    async with Client(load_access(str(platform.kubeconfig))) as found:
        yield found


async def until(question: Callable[[], Any], what: str, timeout_s: float = HANGS_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(NotFound):
            if answer := await question():
                return answer
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        await asyncio.sleep(0.02)


def container(image: str = "example.org/server-1:2", **fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": image, **fields}


PROBE = {"tcpSocket": {"port": 5555}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 60}
READY = {"readinessProbe": PROBE}  # a "no" is a refused connection, never a late one


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NS, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec},
    }


def statefulset(name: str, replicas: int, template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template},
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


def service(name: str, selector: dict[str, str] | None, port: int = PORT) -> dict[str, Any]:
    spec: dict[str, Any] = {"ports": [{"name": "main", "port": port, "targetPort": 5555}]}
    if selector:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS}, "spec": spec}


def is_ready(found: dict[str, Any]) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def ready(client: Client, name: str) -> dict[str, Any]:
    async def question() -> Any:
        found = await client.get(PODS, name, namespace=NS)
        return found if is_ready(found) else None

    return await until(question, f"pod {name} ready")


async def gone(client: Client, name: str, resource: Any = PODS) -> None:
    async def question() -> bool:
        try:
            await client.get(resource, name, namespace=NS)
        except NotFound:
            return True
        return False

    await until(question, f"{name} gone")


def alive(uid: str) -> set[int]:
    """Processes of a pod, by an environment entry that every one of them inherits."""
    return processes.marked("POD_UID", uid)


def main_pid(uid: str) -> int:
    pids = alive(uid)
    return next(pid for pid in pids if (seen := processes.stat(pid)) and seen.parent not in pids)


def pids(platform: Platform, name: str) -> list[int]:
    return [who.pid for who in supervisor.running(platform.directory, name)]


async def ask(address: str, port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text)
    answer = await asyncio.wait_for(reader.read(100), HANGS_S)
    writer.close()
    return answer


async def test_a_name_that_cannot_be_kept_is_the_nodes_all_the_same(
    platform: Platform, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "node" / "name").mkdir(parents=True)  # no file can be written in its place
    assert await node_name(client, tmp_path) == await node_name(client, platform.directory)


async def test_pod_runs_is_ready_and_has_its_own_address(platform: Platform, client: Client) -> None:
    await client.create(PODS, pod("first", container(**READY)))
    found = await ready(client, "first")
    status = found["status"]
    assert status["phase"] == "Running"
    assert status["qosClass"] == "BestEffort"
    assert status["podIP"].startswith("127.")
    assert status["podIP"] != "127.0.0.1"
    assert await ask(status["podIP"], 5555, b"hello") == b"first:hello"
    await client.delete(PODS, "first", namespace=NS)
    await gone(client, "first")


async def test_environment_holds_references_paths_and_what_the_node_sets(platform: Platform, client: Client) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": NS},
        "stringData": {"k": "v1"},
    }
    await client.create(SECRETS, secret)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": NS},
        "data": {"A": "from-c"},
    }
    await client.create(CONFIGMAPS, config)
    spec = container(
        "x/shell:1",
        args=["env; cat /nothing $FILE; echo; echo all; sleep 1000"],
        env=[
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "T", "value": "$(S)-$(A)-$$(S)"},
            {"name": "DATA", "value": "/home/postgres/data/x"},
            {"name": "FILE", "value": "/etc/s/k"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ],
        envFrom=[{"configMapRef": {"name": "c"}}],
        volumeMounts=[{"name": "d", "mountPath": "/home/postgres/data"}, {"name": "s", "mountPath": "/etc/s"}],
        resources={"limits": {"cpu": "500m", "memory": "1Gi"}},
    )
    volumes = [{"name": "d", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}]
    made = await client.create(PODS, pod("env", spec, volumes=volumes))
    found = await ready(client, "env")

    async def log() -> str:
        async with client.logs("env", namespace=NS) as chunks:
            return b"".join([chunk async for chunk in chunks]).decode()

    text = await until(lambda: _if_contains(log, "\nall\n"), "the log")
    env = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert (env["S"], env["T"], env["CPU"]) == ("v1", "v1-from-c-$(S)", "500")
    assert env["NODE"] == env["POD_IP"] == found["status"]["podIP"]
    assert (env["HOSTNAME"], env["POD_UID"]) == ("env", made["metadata"]["uid"])
    assert env["DATA"].endswith("/volumes/d/x")
    assert len(env["RW_DIR"]) < 60
    assert "KUBERNETES_SERVICE_HOST" not in env
    assert "v1\n" in text  # the secret's file; cat's complaint about another one may come between
    assert found["status"]["qosClass"] == "Guaranteed"
    assert (
        "-data" not in Path(env["KUBECONFIG"]).read_text()
    )  # Patroni would copy it into /tmp, and leave it there when killed
    account = load_access(env["KUBECONFIG"])
    async with Client(account) as own:
        assert (await own.get(PODS, "env", namespace=NS))["metadata"]["uid"] == env["POD_UID"]


async def _if_contains(read: Callable[[], Any], text: str) -> str:
    found = await read()
    return found if text in found else ""


async def test_the_agent_may_open_more_than_its_pods(platform: Platform, client: Client) -> None:
    keeper, old = pids(platform, "supervisor")[0], pids(platform, "platform")
    soft, hard = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
    few = min(soft, hard) - 1
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, (few, hard))
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    shell = container("x/shell:1", args=["ulimit -Sn; sleep 1000"])
    uid = (await client.create(PODS, pod("limited", shell)))["metadata"]["uid"]
    await ready(client, "limited")
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(pids(platform, "platform")[0], resource.RLIMIT_NOFILE) == (hard, hard)
    log = platform.directory / "node" / "pods" / uid / "containers" / "main" / "0.log"

    async def limit() -> str:
        return log.read_text().split()[-1] if log.exists() and log.read_text() else ""

    assert await until(limit, "what it says") == str(few)
    await client.delete(PODS, "limited", namespace=NS, grace_period_s=0)


async def test_exec_answers_output_and_exit_code(platform: Platform, client: Client) -> None:
    await client.create(PODS, pod("exec", container()))
    await ready(client, "exec")
    script = "cat; echo err >&2; echo $HOSTNAME; exit 5"
    result = await client.exec("exec", namespace=NS, container="main", argv=["sh", "-c", script], stdin=b"in ")
    assert (result.exit_code, result.stdout, result.stderr) == (5, b"in exec\n", b"err\n")


async def test_log_is_followed_to_the_end_and_the_previous_one_is_kept(platform: Platform, client: Client) -> None:
    script = "echo one; sleep 0.5; echo two; exit 3"
    await client.create(PODS, pod("log", container("x/shell:1", args=[script])))

    async def started() -> Any:
        statuses = (await client.get(PODS, "log", namespace=NS))["status"].get("containerStatuses")
        return statuses and "running" in statuses[0]["state"]

    await until(started, "start")
    async with client.logs("log", namespace=NS, follow=True) as chunks:
        text = b"".join([chunk async for chunk in chunks])
    assert text == b"one\ntwo\n"

    async def backing_off() -> Any:
        status = (await client.get(PODS, "log", namespace=NS))["status"]["containerStatuses"][0]
        return status if (status["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff" else None

    status = await until(backing_off, "back-off")
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    async with client.logs("log", namespace=NS, previous=True, tail_lines=1) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"two\n"


async def test_unknown_image_and_missing_secret_wait_with_the_reason(platform: Platform, client: Client) -> None:
    await client.create(PODS, pod("image", container("example.org/mystery-3:1")))
    env = [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "nosuch", "key": "k"}}}]
    await client.create(PODS, pod("config", container(env=env)))

    async def waiting(name: str) -> Any:
        statuses = (await client.get(PODS, name, namespace=NS)).get("status", {}).get("containerStatuses")
        found = statuses and statuses[0]["state"].get("waiting")
        return found if found and found["reason"] != "ContainerCreating" else None

    image = await until(lambda: waiting("image"), "ErrImagePull")
    assert image["reason"] in ("ErrImagePull", "ImagePullBackOff")
    assert "daemon, lacking, server, shell, sleeper" in image["message"]
    await client.create(PODS, pod("lacking", container("example.org/lacking:1")))
    image = await until(lambda: waiting("lacking"), "ErrImagePull")
    assert image["reason"] in ("ErrImagePull", "ImagePullBackOff")
    assert image["message"].endswith("needs no-such-program, which is not on this machine: install it")
    config = await until(lambda: waiting("config"), "CreateContainerConfigError")
    assert (config["reason"], config["message"]) == ("CreateContainerConfigError", 'secret "nosuch" not found')


async def test_killed_main_process_restarts_in_place_at_once(platform: Platform, client: Client) -> None:
    uid = (await client.create(PODS, pod("killed", container(**READY))))["metadata"]["uid"]
    await ready(client, "killed")
    begin = time.monotonic()
    os.kill(main_pid(uid), signal.SIGKILL)

    async def restarted() -> Any:
        found = await client.get(PODS, "killed", namespace=NS)
        status = found["status"]["containerStatuses"][0]
        return status if status["restartCount"] == 1 and is_ready(found) else None

    status = await until(restarted, "restart")
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert time.monotonic() - begin < 10  # a kubelet's first pause


async def test_deleted_pod_shows_its_end_before_it_goes(platform: Platform, client: Client) -> None:
    uid = (await client.create(PODS, pod("ending", container("x/daemon:1"))))["metadata"]["uid"]
    await ready(client, "ending")
    await until(lambda: _two(uid), "the daemon")
    version = (await client.get(PODS, "ending", namespace=NS))["metadata"]["resourceVersion"]
    await client.delete(PODS, "ending", namespace=NS)
    states: list[str] = []
    async with aclosing(watch(client, PODS, version, namespace=NS)) as events:
        async for event in events:
            found = json.loads(bytes(event.object))
            if found["metadata"].get("uid") != uid:
                continue
            states.append(next(iter(found["status"]["containerStatuses"][0]["state"])))
            if states[-1] == "terminated":
                assert alive(uid) == set()
            if event.type == "DELETED":
                break
    assert alive(uid) == set()
    assert "terminated" in states

    async def cleared() -> bool:
        return not (platform.directory / "node" / "pods" / uid).exists()

    await until(cleared, "the folder's removal")


async def _two(uid: str) -> bool:
    return len(alive(uid)) == 2


async def test_pod_of_the_same_name_waits_for_the_death_of_its_predecessor(platform: Platform, client: Client) -> None:
    first = (await client.create(PODS, pod("same", container("x/daemon:1"))))["metadata"]["uid"]
    await ready(client, "same")
    await until(lambda: _two(first), "the daemon")
    await client.delete(PODS, "same", namespace=NS, uid=first, grace_period_s=0)
    await gone(client, "same")
    second = (await client.create(PODS, pod("same", container("x/daemon:1"))))["metadata"]["uid"]
    overlapped = False
    while not alive(second):
        overlapped = overlapped or bool(alive(first) and alive(second))
        await asyncio.sleep(0.005)
    assert not overlapped
    assert alive(first) == set()
    await ready(client, "same")


async def test_killed_platform_adopts_its_pods_and_never_shows_them_unready(platform: Platform, client: Client) -> None:
    before = (await client.create(PODS, pod("kept", container(**READY))))["metadata"]
    await ready(client, "kept")
    pid = main_pid(before["uid"])
    old = pids(platform, "platform")
    os.kill(old[0], signal.SIGKILL)

    async def new() -> bool:
        return bool(set(pids(platform, "platform")) - set(old))

    await until(new, "a new platform process")
    marker = await client.create(PODS, pod("marker", container(**READY)))
    while not is_ready(found := await client.get(PODS, "marker", namespace=NS)):
        kept = await client.get(PODS, "kept", namespace=NS)
        assert is_ready(kept)
        assert kept["status"]["containerStatuses"][0]["restartCount"] == 0
        await asyncio.sleep(0.02)
    assert found["metadata"]["uid"] == marker["metadata"]["uid"]
    assert main_pid(before["uid"]) == pid
    await client.delete(PODS, "kept", namespace=NS)
    await gone(client, "kept")
    assert alive(before["uid"]) == set()


async def test_pod_deleted_while_the_platform_is_away_ends_when_it_is_back(platform: Platform, client: Client) -> None:
    uid = (await client.create(PODS, pod("away", container("x/daemon:1"))))["metadata"]["uid"]
    await ready(client, "away")
    os.kill(pids(platform, "platform")[0], signal.SIGSTOP)
    stopped = pids(platform, "platform")[0]
    try:
        await client.delete(PODS, "away", namespace=NS, grace_period_s=0, uid=uid)
        await gone(client, "away")
        assert alive(uid)
    finally:
        os.kill(stopped, signal.SIGKILL)

    async def dead() -> bool:
        return not alive(uid)

    await until(dead, "the orphaned processes' end")


async def test_statefulset_starts_in_order_and_keeps_claims_when_scaled_in(platform: Platform, client: Client) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [container(**READY)]}
    template["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    await client.create(STATEFUL_SETS, statefulset("st", 2, template))
    second, first = await ready(client, "st-1"), await ready(client, "st-0")
    assert first["metadata"]["creationTimestamp"] <= second["metadata"]["creationTimestamp"]
    labels = second["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "st-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    revision = await client.get(CONTROLLER_REVISIONS, labels["controller-revision-hash"], namespace=NS)
    assert revision["data"]["spec"]["template"]["spec"]["containers"][0]["name"] == "main"

    async def status() -> Any:
        found = (await client.get(STATEFUL_SETS, "st", namespace=NS)).get("status") or {}
        return found if found.get("readyReplicas") == 2 and found.get("replicas") == 2 else None

    assert (await until(status, "status"))["currentRevision"] == revision["metadata"]["name"]
    await client.merge_patch(STATEFUL_SETS, "st", {"spec": {"replicas": 1}}, namespace=NS)
    await gone(client, "st-1")
    claim = await client.get(PERSISTENT_VOLUME_CLAIMS, "data-st-1", namespace=NS)
    folder = volumes.claim_folder(platform.directory, NS, "data-st-1", claim["metadata"]["uid"])
    assert claim["status"]["phase"] == "Bound"
    assert folder.is_dir()
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "data-st-1", namespace=NS)
    await gone(client, "data-st-1", PERSISTENT_VOLUME_CLAIMS)
    assert not folder.exists()


async def test_claim_in_use_keeps_its_folder_until_the_pod_is_dead(platform: Platform, client: Client) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [container()]}
    template["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    await client.create(STATEFUL_SETS, statefulset("used", 1, template))
    await ready(client, "used-0")
    claim = await client.get(PERSISTENT_VOLUME_CLAIMS, "data-used-0", namespace=NS)
    folder = volumes.claim_folder(platform.directory, NS, "data-used-0", claim["metadata"]["uid"])
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "data-used-0", namespace=NS)
    await asyncio.sleep(0.5)
    assert folder.is_dir()
    await client.delete(STATEFUL_SETS, "used", namespace=NS, propagation="Foreground")
    await gone(client, "used-0")
    await gone(client, "data-used-0", PERSISTENT_VOLUME_CLAIMS)
    await gone(client, "used", STATEFUL_SETS)
    assert not folder.exists()


async def test_on_delete_keeps_pods_and_makes_new_ones_from_the_new_template(
    platform: Platform, client: Client
) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [container()]}
    spec = {"updateStrategy": {"type": "OnDelete"}, "podManagementPolicy": "Parallel"}
    await client.create(STATEFUL_SETS, statefulset("od", 2, template, **spec))
    old = [await ready(client, f"od-{ordinal}") for ordinal in (0, 1)]
    change = [{"op": "add", "path": "/spec/template/metadata/annotations", "value": {"new": "yes"}}]
    await client.json_patch(STATEFUL_SETS, "od", change, namespace=NS)
    await client.delete(PODS, "od-1", namespace=NS, uid=old[1]["metadata"]["uid"])

    async def replaced() -> Any:
        found = await client.get(PODS, "od-1", namespace=NS)
        return found if found["metadata"]["uid"] != old[1]["metadata"]["uid"] and is_ready(found) else None

    new = await until(replaced, "the new pod")
    assert new["metadata"]["annotations"]["new"] == "yes"
    kept = await client.get(PODS, "od-0", namespace=NS)
    assert kept["metadata"]["uid"] == old[0]["metadata"]["uid"]


async def test_orphaning_delete_leaves_pods_that_a_new_statefulset_adopts(platform: Platform, client: Client) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [container()]}
    await client.create(STATEFUL_SETS, statefulset("or", 1, template))
    before = await ready(client, "or-0")
    await client.delete(STATEFUL_SETS, "or", namespace=NS, propagation="Orphan")
    await gone(client, "or", STATEFUL_SETS)
    assert not (await client.get(PODS, "or-0", namespace=NS))["metadata"].get("ownerReferences")
    made = await client.create(STATEFUL_SETS, statefulset("or", 1, template))

    async def adopted() -> Any:
        found = await client.get(PODS, "or-0", namespace=NS)
        owners = found["metadata"].get("ownerReferences") or [{}]
        return found if owners[0].get("uid") == made["metadata"]["uid"] else None

    after = await until(adopted, "adoption")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_service_leads_to_ready_pods_and_closes_with_the_service(platform: Platform, client: Client) -> None:
    await client.create(PODS, pod("backend", container(**READY)))
    address = (await client.create(SERVICES, service("front", {"app": "backend"})))["spec"]["clusterIP"]
    await ready(client, "backend")

    async def answers() -> Any:
        with contextlib.suppress(OSError):
            return await ask(address, PORT, b"x")

    assert await until(answers, "the service") == b"backend:x"
    reader, writer = await asyncio.open_connection(address, PORT)
    writer.write(b"y")
    assert await reader.read(100) == b"backend:y"
    await client.delete(PODS, "backend", namespace=NS, grace_period_s=1)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(100), HANGS_S) == b""
    writer.close()
    await client.delete(SERVICES, "front", namespace=NS)

    async def refused() -> bool:
        try:
            _, connected = await asyncio.open_connection(address, PORT)
        except OSError:
            return True
        connected.close()
        return False

    await until(refused, "the listener's end")
    await gone(client, "front", ENDPOINTS)


async def test_endpoints_without_selector_are_obeyed_and_never_written(platform: Platform, client: Client) -> None:
    found = await client.create(PODS, pod("leader", container(**READY)))
    found = await ready(client, "leader")
    address = (await client.create(SERVICES, service("master", None, port=5432)))["spec"]["clusterIP"]
    subsets = [{"addresses": [{"ip": found["status"]["podIP"]}], "ports": [{"name": "main", "port": 5555}]}]
    body = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "master", "namespace": NS},
        "subsets": subsets,
    }
    made = await client.create(ENDPOINTS, body)

    async def answers() -> Any:
        with contextlib.suppress(OSError):
            return await ask(address, 5432, b"x")

    assert await until(answers, "the service") == b"leader:x"
    reader, _ = await asyncio.open_connection(address, 5432)
    await client.merge_patch(ENDPOINTS, "master", {"subsets": []}, namespace=NS)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(1), HANGS_S) == b""
    now = await client.get(ENDPOINTS, "master", namespace=NS)
    assert now["metadata"]["uid"] == made["metadata"]["uid"]
    assert not now.get("subsets")


async def test_connections_outlive_every_process_but_the_proxy(platform: Platform, client: Client) -> None:
    await client.create(PODS, pod("long", container(**READY)))
    address = (await client.create(SERVICES, service("long", {"app": "long"})))["spec"]["clusterIP"]
    await ready(client, "long")

    async def connected() -> Any:
        with contextlib.suppress(OSError):
            return await ask(address, PORT, b"?") and await asyncio.open_connection(address, PORT)

    reader, writer = await until(connected, "a connection")
    for name in ("platform", "apiserver", "supervisor"):
        os.kill(pids(platform, name)[0], signal.SIGKILL)
    for _ in range(20):
        writer.write(b"z")
        assert await asyncio.wait_for(reader.read(100), HANGS_S) == b"long:z"
        await asyncio.sleep(0.05)
    writer.close()
    await up.up(platform)

    async def still() -> Any:
        with contextlib.suppress(KubeError):
            return is_ready(await client.get(PODS, "long", namespace=NS))

    await until(still, "the pod after everything was killed")
    assert await ask(address, PORT, b"z") == b"long:z"


async def test_taken_port_names_its_holder_in_an_event(platform: Platform, client: Client) -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        await client.create(SERVICES, service("taken", {"app": "none"}, port=port))

        async def event() -> Any:
            listing = await client.list(EVENTS, namespace=NS)
            return next((found for found in listing.items if found["reason"] == "AddressTaken"), None)

        message = (await until(event, "the event"))["message"]
        assert f"pid {os.getpid()} (" in message
        assert f":{port}" in message
    address = (await client.get(SERVICES, "taken", namespace=NS))["spec"]["clusterIP"]

    async def opened() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            return True
        return False

    await until(opened, "the port after its holder has gone")


async def test_dependents_go_with_their_owner_and_only_then(platform: Platform, client: Client) -> None:
    def config(name: str, owners: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NS, "ownerReferences": owners},
        }

    owner = await client.create(CONFIGMAPS, config("owner", []))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    unknown = {"apiVersion": "no.such/v1", "kind": "Thing", "name": "t", "uid": "0-0-0"}
    await client.create(CONFIGMAPS, config("owned", [reference]))
    await client.create(CONFIGMAPS, config("owned-by-unknown", [unknown]))
    await asyncio.sleep(0.3)
    await client.get(CONFIGMAPS, "owned", namespace=NS)
    await client.delete(CONFIGMAPS, "owner", namespace=NS)
    await gone(client, "owned", CONFIGMAPS)
    await client.get(CONFIGMAPS, "owned-by-unknown", namespace=NS)


async def test_budget_counts_what_its_statefulset_wants(platform: Platform, client: Client) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [container()]}
    await client.create(STATEFUL_SETS, statefulset("bu", 2, template, podManagementPolicy="Parallel"))
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "bu", "namespace": NS},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "bu"}}},
    }
    await client.create(POD_DISRUPTION_BUDGETS, budget)

    async def counted() -> Any:
        status = (await client.get(POD_DISRUPTION_BUDGETS, "bu", namespace=NS)).get("status") or {}
        return status.get("expectedPods") == 2 and status.get("disruptionsAllowed") == 1

    await until(counted, "the budget")


async def test_deployment_replaces_its_pods_and_never_has_too_few(platform: Platform, client: Client) -> None:
    template = {"metadata": {"labels": {"app": "de"}}, "spec": {"containers": [container(**READY)]}}
    template["spec"]["terminationGracePeriodSeconds"] = 1  # type: ignore[index]
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "de"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "de", "namespace": NS}, "spec": spec}
    await client.create(DEPLOYMENTS, body)

    async def available() -> Any:
        status = (await client.get(DEPLOYMENTS, "de", namespace=NS)).get("status") or {}
        generation = (await client.get(DEPLOYMENTS, "de", namespace=NS))["metadata"]["generation"]
        done = status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 2
        return done and status.get("observedGeneration") == generation

    await until(available, "the deployment")
    old = {found["metadata"]["uid"] for found in (await client.list(PODS, namespace=NS, labels="app=de")).items}
    change = {"spec": {"template": {"metadata": {"annotations": {"new": "yes"}}}}}
    await client.merge_patch(DEPLOYMENTS, "de", change, namespace=NS)
    fewest = 2
    while True:
        pods = (await client.list(PODS, namespace=NS, labels="app=de")).items
        fewest = min(fewest, sum(map(is_ready, pods)))
        if len(pods) == 2 and not old & {found["metadata"]["uid"] for found in pods} and await available():
            break
        await asyncio.sleep(0.02)
    assert fewest == 2


async def test_job_ends_complete_or_failed(platform: Platform, client: Client) -> None:
    def job(name: str, script: str, limit: int) -> dict[str, Any]:
        spec = {"restartPolicy": "Never", "containers": [container("x/shell:1", args=[script])]}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": NS},
            "spec": {"backoffLimit": limit, "template": {"spec": spec}},
        }

    await client.create(JOBS, job("good", "echo done", 1))
    await client.create(JOBS, job("bad", "exit 2", 0))

    async def conditions(name: str) -> Any:
        found = (await client.get(JOBS, name, namespace=NS)).get("status") or {}
        return [entry["type"] for entry in found.get("conditions") or ()]

    assert "Complete" in await until(lambda: conditions("good"), "completion")
    assert "Failed" in await until(lambda: conditions("bad"), "failure")


async def test_init_containers_run_in_order_before_the_others(platform: Platform, client: Client) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "env": [{"name": "V", "value": "/v/order"}]}
    steps = [
        {**container("x/shell:1", args=[f"echo {number} >> $V"], **mount), "name": f"i{number}"} for number in (1, 2)
    ]
    last = container("x/shell:1", args=["cat $V; sleep 1000"], **mount)
    await client.create(PODS, pod("init", last, initContainers=steps, volumes=[{"name": "v", "emptyDir": {}}]))
    await ready(client, "init")

    async def log() -> str:
        async with client.logs("init", namespace=NS, container="main") as chunks:
            return b"".join([chunk async for chunk in chunks]).decode()

    assert await until(log, "the log") == "1\n2\n"


async def test_liveness_failure_restarts_the_container(platform: Platform, client: Client) -> None:
    probe = {
        "exec": {"command": ["test", "-e", "well"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "initialDelaySeconds": 1,
    }
    script = "touch well; sleep 1.2; rm well; sleep 1000"
    await client.create(PODS, pod("liveness", container("x/shell:1", args=[script], livenessProbe=probe)))

    async def restarted() -> Any:
        statuses = (await client.get(PODS, "liveness", namespace=NS)).get("status", {}).get("containerStatuses")
        return statuses and statuses[0]["restartCount"] >= 1

    await until(restarted, "the restart")


async def test_stopped_platform_starts_again_with_its_pods() -> None:
    parent = public_folder()
    found = Platform(parent / "p", {"server": ROLES["server"]})
    await up.up(found)
    try:
        async with Client(load_access(str(found.kubeconfig))) as client:
            uid = (await client.create(PODS, pod("p", container(**READY))))["metadata"]["uid"]
            await ready(client, "p")
        await up.down(found.directory, remove=False)
        assert alive(uid) == set()
        assert not up.status(found.directory).is_up
        await up.up(found)
        async with Client(load_access(str(found.kubeconfig))) as client:

            async def restarted() -> Any:
                pod_ = await client.get(PODS, "p", namespace=NS)
                return pod_["status"]["containerStatuses"][0]["restartCount"] == 1 and is_ready(pod_)

            await until(restarted, "the restart")
    finally:
        await up.down(found.directory)
    await up.down(found.directory)
    assert not found.directory.exists()
    assert not found.runtime.exists()
    assert alive(uid) == set()
    parent.rmdir()
