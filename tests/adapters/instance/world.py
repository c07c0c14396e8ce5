"""Members started for real: `python -m howdah.instance` as an unprivileged process against a real API server."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from howdah.core.patroni.member import parse_config, parse_leader, parse_member
from lifetimes import ended_with_us
from steady import HANGS_S

SUPERUSER_PASSWORD = "super secret"
SOURCE = str(Path(__file__).parents[3] / "src")
"""What a member is started from. What is installed would be another tree, where a defect is seeded in a copy of this one."""
AS_NOBODY = ["unshare", "-U", "-p", "-f", "--kill-child", "--mount-proc", "--map-user=65534", "--map-group=65534"]


def until(condition, *, timeout_s=HANGS_S, why="", every_s=0.05):
    """The first true answer of `condition`; fails with `why` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(every_s)
    raise AssertionError(f"not within {timeout_s} s: {why() if callable(why) else why}")


def network_of(world: int) -> str:
    """Loopback addresses for one of the up to three worlds of this process. Two may be up at once: none has another's."""
    assert world in range(3)
    return f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 80 * 3 + world}"


class Api:
    """The few calls that these tests make, with the kubeconfig's client certificate."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        self.kubeconfig = kubeconfig
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.host = urllib.parse.urlsplit(cluster["server"]).netloc
        self.context = ssl.create_default_context(cadata=self._text(cluster, "certificate-authority"))
        self.token = user.get("token")
        if not self.token:
            folder = kubeconfig.parent
            certificate, key = folder / "test-client.crt", folder / "test-client.key"
            certificate.write_text(self._text(user, "client-certificate"))
            key.write_text(self._text(user, "client-key"))
            self.context.load_cert_chain(certificate, key)

    def _text(self, section: dict, key: str) -> str:
        if f"{key}-data" in section:
            return base64.b64decode(section[f"{key}-data"]).decode()
        return (self.kubeconfig.parent / section[key]).read_text()

    def call(self, verb: str, path: str, body: object = None, content_type: str = "application/json"):
        connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=HANGS_S)
        headers = {"Content-Type": content_type}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        with contextlib.closing(connection):
            connection.request(verb, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status == 404 and verb == "GET":
            return None
        assert answer.status < 300, (verb, path, answer.status, text)
        return json.loads(text)


@dataclass
class Member:
    """One pod's worth of files and, while it runs, its process group."""

    name: str
    address: str
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"

    @property
    def data(self) -> Path:
        return self.folder / "pgroot" / "data"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ended_with_us(*(AS_NOBODY if os.geteuid() == 0 else ()), sys.executable, "-m", "howdah.instance"),
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a node does it when a pod has to go at once: nothing of it survives."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(20)
        self.process = None
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM to the container's main process, as a node does it; returns when everything has ended."""
        assert self.process is not None
        main = self.process.pid
        if os.geteuid() == 0:  # unshare does not forward signals; the main process is its child
            main = int(Path(f"/proc/{main}/task/{main}/children").read_text().split()[0])
        os.kill(main, signal.SIGTERM)
        self.process.wait(HANGS_S)

    def processes(self) -> list[int]:
        """Pids of this machine, by the member's mark in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if f"POD_UID={self.environment['POD_UID']}".encode() in (entry / "environ").read_bytes():
                    found.append(pid)
        return found

    def sql(self, statement: str, *, timeout_s: float = HANGS_S) -> str:
        """The answer over TCP, as the superuser with its password."""
        psql = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))), None) or "psql"
        result = subprocess.run(
            [psql, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement],
            env={
                "PGHOST": self.address,
                "PGUSER": "postgres",
                "PGPASSWORD": SUPERUSER_PASSWORD,
                "PGDATABASE": "postgres",
                "PGCONNECT_TIMEOUT": "10",
            },
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(result.stderr)
        return result.stdout.strip()


class World:
    """A cluster `name` of members on loopback addresses of their own."""

    def __init__(self, api: Api, folder: Path, name: str, *, major: int, mode: str, network: str, **more: str) -> None:
        self.api, self.folder, self.name, self.major, self.mode = api, folder, name, major, mode
        self.network, self.more = network, more
        self.members: list[Member] = []

    def add(self) -> Member:
        """Create the next member's Pod object and start its instance."""
        ordinal = len(self.members)
        name, address = f"{self.name}-{ordinal}", f"{self.network}.{ordinal + 1}"
        labels = {"application": "spilo", "cluster-name": self.name}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "postgres", "image": "spilo"}]},
        }
        self.api.call("POST", "/api/v1/namespaces/default/pods", pod)
        folder = self.folder / str(ordinal)
        folder.mkdir()
        member = self.member(name, address, folder, self._environment(name, address, folder))
        self.members.append(member)
        member.start()
        return member

    def member(self, name: str, address: str, folder: Path, environment: dict[str, str]) -> Member:
        """It is not started yet."""
        return Member(name, address, folder, environment)

    def _environment(self, name: str, address: str, folder: Path) -> dict[str, str]:
        """As the operator renders it (and the node adds), for a default manifest."""
        mode = {"KUBERNETES_USE_CONFIGMAPS": "true"} if self.mode == "configmaps" else {}
        dcs = {"failsafe_mode": True}
        configuration = {
            "postgresql": {"parameters": {"shared_buffers": "32MB"}},
            "bootstrap": {"initdb": [{"auth-host": "scram-sha-256"}, {"auth-local": "trust"}], "dcs": dcs},
        }
        return {
            "SCOPE": self.name,
            "PGROOT": str(folder / "pgroot"),
            "POD_IP": address,
            "POD_NAMESPACE": "default",
            "POD_UID": f"{self.name}-{name}-{os.getpid()}",
            "PGUSER_SUPERUSER": "postgres",
            "KUBERNETES_SCOPE_LABEL": "cluster-name",
            "KUBERNETES_ROLE_LABEL": "spilo-role",
            "PGPASSWORD_SUPERUSER": SUPERUSER_PASSWORD,
            "PGUSER_STANDBY": "standby",
            "PGPASSWORD_STANDBY": "standby secret",
            "PAM_OAUTH2": "https://info.example.com/oauth2/tokeninfo?access_token= uid realm=/employees",
            "HUMAN_ROLE": "zalandos",
            "PGVERSION": str(self.major),
            "KUBERNETES_LABELS": '{"application":"spilo"}',
            "SPILO_CONFIGURATION": json.dumps(configuration),
            "DCS_ENABLE_KUBERNETES_API": "true",
            "KUBERNETES_BOOTSTRAP_LABELS": '{"critical-operation":"true"}',
            **mode,
            "HOSTNAME": name,
            "KUBECONFIG": str(self.api.kubeconfig),
            "RW_DIR": str(folder / "run"),
            "TERMINATION_LOG": str(folder / "termination"),
            "HOWDAH_PATRONI_AUTH": "derived",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": SOURCE,
            **self.more,
        }

    def pod(self, name: str) -> dict:
        return self.api.call("GET", f"/api/v1/namespaces/default/pods/{name}")

    def patroni_object(self, suffix: str) -> dict[str, str]:
        """Annotations of one of Patroni's objects (`leader`, `config`, `sync`); empty where it is not there."""
        kind = self.mode
        name = self.name if (kind, suffix) == ("endpoints", "leader") else f"{self.name}-{suffix}"
        found = self.api.call("GET", f"/api/v1/namespaces/default/{kind}/{name}")
        return (found or {}).get("metadata", {}).get("annotations") or {}

    def state(self, member: Member):
        return parse_member(member.name, self.pod(member.name)["metadata"].get("annotations"))

    def leader(self) -> Member | None:
        name = parse_leader(self.patroni_object("leader")).name
        return next((member for member in self.members if member.name == name), None)

    def config(self):
        return parse_config(self.patroni_object("config"))

    def is_writable(self, member: Member) -> bool:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            return member.sql("SELECT NOT pg_is_in_recovery()") == "t"
        return False

    def streaming(self, leader: Member) -> set[str]:
        """Names that stream from `leader`; a base backup streams too, under another name."""
        query = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            return {n for n in leader.sql(query).split("\n") if n.startswith(f"{self.name}-")}
        return set()

    def logs(self) -> str:
        return "\n".join(f"== {m.name}\n{m.log.read_text()[-3000:]}" for m in self.members)

    def end(self) -> None:
        for member in self.members:
            member.kill()
        for member in self.members:
            self.api.call("DELETE", f"/api/v1/namespaces/default/pods/{member.name}", {"gracePeriodSeconds": 0})
        selector = urllib.parse.quote(f"application=spilo,cluster-name={self.name}")
        for kind in ("configmaps", "endpoints"):
            self.api.call("DELETE", f"/api/v1/namespaces/default/{kind}?labelSelector={selector}")


def run_script(script, api, folder, scope, **changes):
    """A script of Patroni's as Patroni runs it, for member 0 of `scope`; what the process said."""
    section = {
        "namespace": "default",
        "labels": {"application": "spilo"},
        "scope_label": "cluster-name",
        "role_label": "spilo-role",
        "leader_label_value": "master",
        "context": yaml.safe_load(api.kubeconfig.read_text())["current-context"],
        **changes,
    }
    file = folder / "patroni.yaml"
    file.write_text(yaml.safe_dump({"scope": scope, "name": f"{scope}-0", "kubernetes": section}))
    return subprocess.run(
        [sys.executable, "-P", script.__file__, str(file)],
        env={"KUBECONFIG": str(api.kubeconfig), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
