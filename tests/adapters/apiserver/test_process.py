"""Starting, ending, and what survives."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from adapters.apiserver.client import Server, config_map
from howdah.local.apiserver.kept import service_range
from steady import HANGS_S

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def test_first_start_makes_a_private_kubeconfig_that_works(server: Server) -> None:
    assert server.ready.startswith("ready https://127.0.0.1:")
    assert stat.S_IMODE(server.kubeconfig.stat().st_mode) == 0o600
    assert server.client().get("/api/v1/namespaces/default").code == 200


def test_server_certificate_holds_the_names_of_the_service(server: Server) -> None:
    certificate = (server.directory / "pki" / "server.crt").read_text()
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"],
        input=certificate,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS_S,
    ).stdout
    for name in ("localhost", "127.0.0.1", "kubernetes.default.svc", "DNS:kubernetes"):
        assert name in shown


def test_unknown_callers_get_401_except_for_version_and_health(server: Server) -> None:
    anonymous = server.client(anonymous=True)
    assert anonymous.get("/api/v1/namespaces").code == 401
    assert anonymous.get("/api/v1/namespaces")["reason"] == "Unauthorized"
    assert server.client(token="x.y.z").get("/api/v1/namespaces").code == 401
    for path in ("/version", "/healthz", "/readyz", "/livez"):
        assert anonymous.get(path).code == 200


def test_port_and_authority_are_those_of_the_first_start(own_server: Server) -> None:
    before, ready = own_server.kubeconfig.read_text(), own_server.ready
    assert own_server.stop() == 0
    own_server.start()
    assert own_server.ready == ready
    assert own_server.kubeconfig.read_text() == before


def test_a_port_that_cannot_be_read_is_the_one_that_kubeconfigs_name(own_server: Server) -> None:
    ready = own_server.ready
    own_server.stop()
    for torn in ("", "\0\0\0\0", "x"):
        (own_server.directory / "port").write_text(torn)
        own_server.start()
        assert own_server.ready == ready
        own_server.stop()
    (own_server.directory / "port").unlink()
    own_server.start()
    assert own_server.ready == ready


def test_a_restart_writes_nothing_that_it_would_not_change(own_server: Server) -> None:
    files = [own_server.directory / name for name in ("port", "service-range", "kubeconfig")]
    before = [file.stat().st_ino for file in files]
    own_server.stop()
    own_server.start()
    assert [file.stat().st_ino for file in files] == before


def test_a_taken_port_names_its_holder(own_server: Server) -> None:
    own_server.stop()
    port = int((own_server.directory / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        command = [sys.executable, "-m", "howdah.local.apiserver", "--dir", own_server.directory]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}, the port that every kubeconfig of" in done.stderr
    assert f"is held by pid {os.getpid()} (" in done.stderr
    assert "Traceback" not in done.stderr


def test_acknowledged_writes_survive_kill_and_versions_grow(own_server: Server) -> None:
    api = own_server.client()
    last = ""
    for index in range(30):
        last = api.post(CONFIGMAPS, config_map(f"c{index}")).version
    api.delete(f"{CONFIGMAPS}/c0")
    own_server.kill()
    own_server.start()
    api = own_server.client()
    names = {item["metadata"]["name"] for item in api.get(CONFIGMAPS)["items"]}
    assert names == {f"c{index}" for index in range(1, 30)}
    assert int(api.post(CONFIGMAPS, config_map("new")).version) > int(last)
    assert int(api.get(CONFIGMAPS).version) > int(last)


def test_versions_are_not_reused_when_the_last_writes_are_lost(own_server: Server) -> None:
    """As after a power cut on a disk that lied about syncing: the log is gone, the counter still jumps ahead."""
    lost = own_server.client().post(CONFIGMAPS, config_map("lost")).version
    own_server.kill()
    for name in ("store.sqlite-wal", "store.sqlite-shm"):
        (own_server.directory / name).unlink(missing_ok=True)
    own_server.start()
    api = own_server.client()
    assert api.get(f"{CONFIGMAPS}/lost").code == 404
    assert int(api.post(CONFIGMAPS, config_map("next")).version) > int(lost)


def test_version_from_before_a_restart_is_gone(own_server: Server) -> None:
    api = own_server.client()
    old = api.post(CONFIGMAPS, config_map("a")).version
    own_server.stop()
    own_server.start()
    event = own_server.client().watch(f"{CONFIGMAPS}?watch=1&resourceVersion={old}").next()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_custom_resources_are_served_after_a_restart(own_server: Server) -> None:
    from adapters.apiserver.test_custom_resources import CRD, widget

    api = own_server.client()
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    path = "/apis/x.test/v1/namespaces/default/widgets"
    assert api.post(path, widget("a", n=1)).code == 201
    own_server.kill()
    own_server.start()
    assert own_server.client().get(f"{path}/a")["spec"]["n"] == 1


def test_token_is_valid_after_a_restart_and_dies_with_its_account(own_server: Server) -> None:
    api = own_server.client()
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    api.post(accounts, {"metadata": {"name": "sa"}})
    answer = api.post(f"{accounts}/sa/token", {"spec": {"expirationSeconds": 600}})
    assert answer.code == 201
    token = answer["status"]["token"]
    own_server.stop()
    own_server.start()
    as_account = own_server.client(token=token)
    review = as_account.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {"kind": "SelfSubjectReview"})
    assert review["status"]["userInfo"]["username"] == "system:serviceaccount:default:sa"
    own_server.client().delete(f"{accounts}/sa")
    assert as_account.get(accounts).code == 401


def test_servers_with_ranges_of_their_own_give_out_addresses_that_do_not_meet(tmp_path: Path) -> None:
    services = "/api/v1/namespaces/default/services"
    found = []
    for name, wanted in (("one", "127.97.0.0/16"), ("two", "127.98.0.0/16")):
        server = Server(tmp_path / name, "--service-range", wanted)
        server.start()
        body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 5432}]}}
        found.append(server.client().post(services, body)["spec"]["clusterIP"].rsplit(".", 2)[0])
        server.stop()
    assert found == ["127.97", "127.98"]


def test_service_range_is_that_of_the_first_start(tmp_path: Path) -> None:
    wanted = IPv4Network("127.99.0.0/16")
    assert service_range(tmp_path, wanted) == wanted
    assert service_range(tmp_path, None) == wanted
    assert service_range(tmp_path, IPv4Network("127.100.0.0/16")) == wanted


def test_service_range_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "service-range").write_text("127.9")
    wanted = IPv4Network("127.99.0.0/16")
    assert service_range(tmp_path, wanted) == wanted
    assert service_range(tmp_path, None) == wanted


def test_service_range_off_the_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="expected a part of 127"):
        service_range(tmp_path, IPv4Network("10.0.0.0/16"))
    assert not (tmp_path / "service-range").exists()


def test_impersonation_is_refused_instead_of_answered_for_somebody_else(server: Server) -> None:
    answer = server.client().get("/api/v1/namespaces/default", **{"Impersonate-User": "nobody"})
    assert (answer.code, answer["reason"]) == (403, "Forbidden")
    assert "no impersonation" in answer["message"]
