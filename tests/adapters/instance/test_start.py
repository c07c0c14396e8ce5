"""What happens before Patroni: choosing binaries, refusing to start, files and facts of the machine."""

import datetime as dt
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patroni.dcs import slot_name_from_member_name

from adapters.instance.world import AS_NOBODY, SOURCE
from howdah.core.spilo.configuration import configuration
from howdah.core.spilo.environment import parse_environment
from howdah.core.spilo.template import DYNAMIC_PARAMETERS
from howdah.instance import facts, pod_labels, replica, tls
from howdah.instance.binaries import installations, probe
from howdah.instance.configure import (
    EXIT_CANNOT_WRITE,
    EXIT_NO_SUCH_MAJOR,
    EXIT_WRONG_ENVIRONMENT,
    Refused,
    choose_installation,
    data_directory_major,
    look_at,
    write_files,
)
from steady import HANGS_S
from unit.core.spilo.cases import ENVIRONMENT, FULL, LOCAL, without

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
PRESENT = installations(os.environ["PATH"])
AT_16, AT_18 = replace(FULL, major=16), FULL


def started(environment, tmp_path):
    """The instance's exit code, and what it says where Kubernetes looks."""
    said = tmp_path / "termination"
    result = subprocess.run(
        [*(AS_NOBODY if os.geteuid() == 0 else ()), sys.executable, "-m", "howdah.instance"],
        env=environment | {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "TERMINATION_LOG": str(said)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return result.returncode, said.read_text() if said.exists() else result.stderr


def configured(environment):
    """Notes for the log of a start."""
    code = (
        "import datetime as dt, os; from howdah.instance.configure import configure;"
        "print(*configure(os.environ, now=dt.datetime.now(dt.UTC)).notes)"
    )
    result = subprocess.run(
        [*(AS_NOBODY if os.geteuid() == 0 else ()), sys.executable, "-P", "-c", code],
        env=environment | {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=True,
    )
    return result.stdout


def local(tmp_path, **changes):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({"current-context": "here"}))
    folders = {"PGROOT": str(tmp_path / "pgroot"), "RW_DIR": str(tmp_path / "run"), "KUBECONFIG": str(kubeconfig)}
    return LOCAL | folders | changes


def test_a_missing_major_names_those_present(tmp_path):
    code, said = started(local(tmp_path, PGVERSION="12"), tmp_path)
    assert code == EXIT_NO_SUCH_MAJOR
    assert said.startswith("PostgreSQL 12 is not installed; present: ")
    assert all(f"{one.major} ({one.bin_dir})" in said for one in PRESENT)


def test_a_wrong_environment_is_told_whole(tmp_path):
    code, said = started(local(tmp_path, PGPORT="x", PGVERSION="y"), tmp_path)
    assert code == EXIT_WRONG_ENVIRONMENT
    assert 'PGPORT: "x"' in said
    assert 'PGVERSION: "y"' in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"KUBECONFIG": "/nowhere/kubeconfig"}, "KUBECONFIG: /nowhere/kubeconfig cannot be used"),
        ({"PGROOT": "/proc/nowhere/pgroot"}, "cannot write /proc/nowhere"),
    ],
)
def test_what_the_instance_needs_is_named_when_it_is_missing(tmp_path, changes, said):
    code, told = started(local(tmp_path, PGVERSION=str(PRESENT[0].major), **changes), tmp_path)
    assert code in (EXIT_WRONG_ENVIRONMENT, EXIT_CANNOT_WRITE)
    assert told.startswith(said)


@pytest.mark.parametrize(
    ("version", "bin_dir", "data", "major"),
    [
        ("16", "", None, 16),
        ("18", "", None, 18),
        ("18", "", 16, 16),
        ("18", "/usr/lib/postgresql/16/bin", None, 16),
        ("", "", None, 18),
        ("", "/opt/own/bin", None, 18),
    ],
)
def test_data_decide_the_version_then_the_folder_then_the_variable(version, bin_dir, data, major):
    spilo = json.dumps({"postgresql": {"bin_dir": bin_dir}})
    request = parse_environment(ENVIRONMENT | {"PGVERSION": version, "SPILO_CONFIGURATION": spilo})
    assert choose_installation(request, data, (AT_16, AT_18)).major == major


def test_data_of_a_missing_major_are_not_touched():
    with pytest.raises(Refused, match="PostgreSQL 15 is not installed; present: 16"):
        choose_installation(parse_environment(ENVIRONMENT), 15, (AT_16, AT_18))


def test_the_version_of_a_data_directory_is_read(tmp_path):
    assert data_directory_major(tmp_path) is None
    (tmp_path / "PG_VERSION").write_text("16\n")
    assert data_directory_major(tmp_path) == 16


def test_a_data_directory_that_cannot_be_read_is_said_and_no_bug(tmp_path):
    (tmp_path / "PG_VERSION").mkdir()  # permissions would not hold root back
    with pytest.raises(
        Refused, match=r"cannot read .*/PG_VERSION: Is a directory; the volume must belong to user"
    ) as said:
        data_directory_major(tmp_path)
    assert said.value.code == EXIT_CANNOT_WRITE


def test_the_pinned_wheel_is_found_with_what_it_cannot_do():
    wheels = [one for one in PRESENT if "pginstall" in one.bin_dir]
    assert {one.major for one in PRESENT} >= {16, 18}
    for one in wheels:
        assert one.features == frozenset()
        assert one.extensions == {"plpgsql", "vector"}


def test_an_incomplete_installation_is_none(tmp_path):
    (tmp_path / "postgres").touch()
    assert probe(tmp_path) is None


@pytest.fixture(params=PRESENT, ids=lambda one: str(one.major))
def written(request, tmp_path):
    """Files as the instance writes them for one installation."""
    asked = parse_environment(local(tmp_path, POD_IP="127.98.7.6", PGVERSION=str(request.param.major)))
    made = configuration(asked, look_at(asked, request.param, local(tmp_path)))
    write_files(asked, made, has_tls="openssl" in request.param.features, now=NOW)
    return asked, made, request.param


def test_patroni_accepts_the_configuration(written):
    asked, _, _ = written
    result = subprocess.run(
        [sys.executable, "-m", "patroni", "--validate-config", asked.paths.patroni_yaml],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_postgres_accepts_the_parameters(written, tmp_path):
    _, made, build = written
    parameters = {**DYNAMIC_PARAMETERS, **made.document["postgresql"]["parameters"]}
    text = "".join(f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'\n" for name, value in parameters.items())
    (tmp_path / "postgresql.conf").write_text(text)
    (tmp_path / "postgresql.auto.conf").touch()
    result = subprocess.run(
        [f"{build.bin_dir}/postgres", "-C", "log_directory", "-D", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "../pg_log", "")


def test_files_are_closed_to_others(written):
    asked, _, build = written
    assert Path(asked.paths.patroni_yaml).stat().st_mode & 0o777 == 0o600
    assert Path(asked.paths.sockets).stat().st_mode & 0o777 == 0o700
    assert (Path(asked.paths.root) / "pg_log").is_dir()
    assert Path(asked.tls.key_file).exists() is ("openssl" in build.features)


def test_an_opened_data_directory_is_closed_again(written):
    asked, made, _ = written
    data = Path(asked.paths.data)
    data.mkdir()
    data.chmod(0o2775)
    write_files(asked, made, has_tls=False, now=NOW)
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_self_signed_certificate_fits_its_key(tmp_path):
    certificate, key = tmp_path / "certs" / "server.crt", tmp_path / "certs" / "server.key"
    for _ in range(2):  # a restart makes a new pair
        tls.write_self_signed(certificate, key, name="c-0", now=NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in key.parent.iterdir()) == ["server.crt", "server.key"]


@given(name=st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,70}[a-z0-9])?", fullmatch=True))
def test_the_slot_is_the_one_that_patroni_looks_for(name):
    assert replica.slot_name(name) == slot_name_from_member_name(name)


@pytest.mark.parametrize(
    ("dynamic", "used"),
    [
        (None, True),
        ("{", True),
        ("{}", True),
        ('{"postgresql": {"use_slots": true}}', True),
        ('{"postgresql": {"use_slots": false}}', False),
        ('{"postgresql": {"use_slots": "off"}}', False),
    ],
)
def test_slots_are_used_unless_the_cluster_says_no(tmp_path, dynamic, used):
    if dynamic is not None:
        (tmp_path / "patroni.dynamic.json").write_text(dynamic)
    assert replica.slots_are_used(tmp_path) is used


def test_half_a_copy_is_discarded_and_nothing_beside_or_behind_it(tmp_path):
    data, copy, elsewhere = tmp_path / "data", tmp_path / "data.copying.1a", tmp_path / "tablespace"
    for file in (data / "global" / "pg_control", elsewhere / "PG_18_202506291" / "1", copy / "PG_VERSION"):
        file.parent.mkdir(parents=True)
        file.touch()
    (copy / "pg_tblspc").mkdir()
    (copy / "pg_tblspc" / "16384").symlink_to(elsewhere)
    assert replica.discard_copies(data) == [copy]
    assert replica.discard_copies(data) == []
    assert not copy.exists()
    assert (data / "global" / "pg_control").exists()
    assert (elsewhere / "PG_18_202506291" / "1").exists()


def test_an_instance_that_starts_discards_half_a_copy_and_says_so(tmp_path):
    (tmp_path / "pgroot" / "data.copying.1a" / "base").mkdir(parents=True)
    notes = configured(local(tmp_path, PGVERSION=str(PRESENT[0].major)))
    assert "data.copying.1a, a copy of the leader's data that was not finished, is removed" in notes
    assert not (tmp_path / "pgroot" / "data.copying.1a").exists()


def test_the_smallest_memory_limit_counts(tmp_path):
    assert facts.cgroup_limit_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert facts.cgroup_limit_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000000\n")
    assert facts.cgroup_limit_bytes(tmp_path) == 1000000
    assert facts.memory_bytes(5_000_000, shares_machine=True) == 5_000_000
    assert facts.memory_bytes(None, shares_machine=True) <= facts.SHARED_MACHINE_BYTES
    assert facts.memory_bytes(2**60, shares_machine=False) <= facts.total_memory_bytes()


def test_a_locale_that_is_missing_becomes_one_with_utf8():
    assert facts.utf8_locale("xx_XX.UTF-8") == "C.UTF-8"
    assert facts.utf8_locale("", "C") == "C.UTF-8"
    assert facts.utf8_locale("C.UTF-8") == "C.UTF-8"


@pytest.fixture
def api_service(tmp_path, monkeypatch):
    """An API server that answers as `answers` says, and what a pod knows of it; `asked`: tokens and paths."""
    monkeypatch.setattr(pod_labels, "ACCOUNT", tmp_path)
    tls.write_self_signed(tmp_path / "ca.crt", tmp_path / "key", name="localhost", now=dt.datetime.now(dt.UTC))
    (tmp_path / "token").write_text("t0ken")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.headers["Authorization"], self.path))
            status, body = server.answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.asked = []
    server.environ = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(server.server_port)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ((200, {"subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]}), 1),
        ((200, {"subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]}]}), 2),
        ((403, {"message": "endpoints is forbidden"}), None),
    ],
)
def test_the_number_of_api_servers_is_that_of_the_services_addresses(api_service, answer, count):
    api_service.answer = answer
    assert facts.api_servers(api_service.environ) == count
    assert api_service.asked == [("Bearer t0ken", "/api/v1/namespaces/default/endpoints/kubernetes")]


def test_without_an_api_server_their_number_is_not_known():
    assert facts.api_servers({}) is None
    assert facts.api_servers({"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}) is None


def test_nothing_is_started_without_a_store(tmp_path):
    code, said = started(without(local(tmp_path), "DCS_ENABLE_KUBERNETES_API"), tmp_path)
    assert code == EXIT_WRONG_ENVIRONMENT
    assert said.startswith("wrong environment: DCS_ENABLE_KUBERNETES_API: is not set")
