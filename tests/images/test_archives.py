"""The archives that `make images` wrote: what is in them, and what runs in them, restricted and read-only."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from howdah import __version__
from images.container import CACHE, PATIENCE_S, Image, unpacked

OPERATOR_MB = 120
ANYBODY = "12345:12345"
BILL = "usr/share/sbom/howdah.cdx.json"
BILLS_OF_WHEELS = "usr/local/lib/python3*/dist-packages/*.dist-info/sboms/*.json"
UNCHECKED_HASH = 1  # PEP 552: compiled from a known source, never compared with it
DISTRIBUTIONS = (
    "import importlib.metadata as m; print(*{d.metadata['Name'].lower() + '=' + d.version for d in m.distributions()})"
)
POOLER = {
    "PGHOST": "127.0.0.1",
    "PGPORT": "1",
    "PGUSER": "pooler",
    "PGPASSWORD": "not-in-a-log",
    "PGSCHEMA": "pooler",
    "CONNECTION_POOLER_MODE": "transaction",
    "CONNECTION_POOLER_DEFAULT_SIZE": "5",
    "CONNECTION_POOLER_MIN_SIZE": "0",
    "CONNECTION_POOLER_RESERVE_SIZE": "1",
    "CONNECTION_POOLER_MAX_CLIENT_CONN": "100",
    "CONNECTION_POOLER_MAX_DB_CONN": "10",
}
INSTANCE = {
    "SCOPE": "acid-a",
    "HOSTNAME": "acid-a-0",
    "POD_IP": "10.2.3.4",
    "DCS_ENABLE_KUBERNETES_API": "true",
}

pytestmark = [pytest.mark.images, pytest.mark.timeout(300)]


@pytest.fixture(params=["operator", "instance", "pooler", "logical-backup"])
def image(request: pytest.FixtureRequest) -> Image:
    return unpacked(request.param)


@pytest.fixture
def operator() -> Image:
    return unpacked("operator")


@pytest.fixture
def instance() -> Image:
    return unpacked("instance")


@pytest.fixture
def pooler() -> Image:
    return unpacked("pooler")


@pytest.fixture
def backup() -> Image:
    return unpacked("logical-backup")


def test_the_operator_is_small(operator: Image) -> None:
    assert operator.uncompressed < OPERATOR_MB * 1_000_000


def test_an_image_is_not_run_as_root(image: Image) -> None:
    user, group = (int(number) for number in image.configuration["User"].split(":"))
    assert user > 0
    assert group > 0


def test_every_module_is_compiled_and_its_bytecode_never_checked(image: Image) -> None:
    own = (
        (image.root / "usr/bin/python3").readlink().name
    )  # a second one may be there, for PL/Python of an older release
    libraries = [*image.root.glob("usr/local/lib/python3*/dist-packages"), image.root / "usr/lib" / own]
    sources = [file for library in libraries for file in library.rglob("*.py")]
    assert any(file.parent.name == "howdah" for file in sources)
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*[0-9].pyc")
        assert compiled.read_bytes()[4] == UNCHECKED_HASH, compiled


def test_nothing_is_compiled_when_the_operator_starts(operator: Image) -> None:
    done = operator.run("python3", "-v", "-c", "import howdah.cli.operator, howdah.controller.main")
    assert done.returncode == 0, done.stderr
    origins = re.findall(r"^# code object from '?([^'\n]+?)'?$", done.stderr, re.MULTILINE)
    assert any("howdah" in origin for origin in origins)
    assert [origin for origin in origins if origin.endswith(".py")] == []
    assert "wrote " not in done.stderr


def test_the_bill_of_materials_lists_every_distribution_and_every_package(image: Image) -> None:
    bill = json.loads((image.root / BILL).read_text())
    assert bill == json.loads((CACHE / f"{image.name}.cdx.json").read_text())
    assert bill["metadata"]["component"]["version"] == __version__
    (system,) = (c for c in bill["components"] if c["type"] == "operating-system")
    assert f'VERSION_ID="{system["version"]}"' in (image.root / "etc/os-release").read_text()
    listed = {c["purl"]: c for c in bill["components"] if c is not system}
    of_debian = [purl for purl in listed if purl.startswith("pkg:deb/debian/")]
    assert all(purl.endswith(f"&distro=debian-{system['version']}") for purl in of_debian)
    distributions = image.run("python3", "-c", DISTRIBUTIONS).stdout.split()
    assert distributions
    for distribution in distributions:
        name, _, version = distribution.partition("=")
        component = listed[f"pkg:pypi/{re.sub(r'[-_.]+', '-', name)}@{version}"]
        assert component["licenses"], name
    built_in = [c for file in image.root.glob(BILLS_OF_WHEELS) for c in json.loads(file.read_text())["components"]]
    assert built_in
    assert {c["purl"] for c in built_in if "purl" in c and not c["purl"].startswith("pkg:pypi/")} <= set(listed)
    references = [c["bom-ref"] for c in bill["components"]]
    assert len(set(references)) == len(references)
    for whole in bill["dependencies"]:
        assert {whole["ref"], *whole["dependsOn"]} <= set(references)
    packages = {c["name"] for c in listed.values() if c["purl"].startswith("pkg:deb/debian/")}
    documented = {path.parent.name for path in image.root.glob("usr/share/doc/*/copyright")}
    assert packages & {"libssl3", "libssl3t64"}  # as Debian 12 and 13 have it
    assert "libc6" in packages
    assert documented <= packages


def test_nothing_of_the_machine_that_built_it_is_in_an_image(image: Image) -> None:
    for path in ("etc/pip.conf", "etc/apt/apt.conf", "run/machine-ca.crt"):
        place = image.root / path
        assert not place.exists() or place.stat().st_size == 0, path
    assert list((image.root / "etc/apt/sources.list.d").glob("*")) == []
    bundle = image.root / "etc/ssl/certs/ca-certificates.crt"
    count = len(list((image.root / "usr/share/ca-certificates/mozilla").glob("*.crt")))
    assert bundle.read_text().count("BEGIN CERTIFICATE") == count > 0
    keys = [file for file in (image.root / "etc").rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
    assert keys == []


def test_nothing_in_an_image_makes_a_process_another_user(image: Image) -> None:
    files = [path for path in below(image.root) if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_nobody_may_write_what_an_image_brings(image: Image) -> None:
    user, group = (int(number) for number in image.configuration["User"].split(":"))
    open_to_all = {"tmp", "var/tmp", "run/lock", "run/postgresql"}
    of_the_user = {"run", "home/postgres", *open_to_all}
    for path in below(image.root):
        found, place = path.lstat(), path.relative_to(image.root).as_posix()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            continue
        assert not found.st_mode & stat.S_IWOTH or place in open_to_all, place
        owned = (found.st_uid == user) or (found.st_gid == group and found.st_mode & stat.S_IWGRP)
        assert not owned or any(place == folder or place.startswith(f"{folder}/") for folder in of_the_user), place


def test_what_only_a_build_needs_is_not_in_an_image(image: Image) -> None:
    for pattern in (
        "var/lib/apt/lists/*",
        "var/cache/apt/*.bin",
        "var/cache/apt/archives/*.deb",
        "root/.cache",
        "build",
    ):
        assert list(image.root.glob(pattern)) == [], pattern
    programs = {path.name for folder in ("usr/bin", "usr/local/bin") for path in (image.root / folder).glob("*")}
    assert programs & {"gcc", "cc", "g++", "clang", "ld", "as", "make", "pip", "pip3", "wget"} == set()
    assert list(image.root.glob("usr/lib/python3/dist-packages/pip")) == []
    dangling = [
        path
        for path in (image.root / "etc/ssl").rglob("*")
        if path.is_symlink() and not goes_somewhere(path, image.root)
    ]
    assert dangling == []


@pytest.mark.parametrize("program", ["bin/sh", "usr/bin/apt-get", "usr/bin/pip", "usr/bin/pip3"])
def test_a_service_has_no_shell_and_no_installer(program: str, operator: Image, pooler: Image, backup: Image) -> None:
    for image in (operator, pooler, backup):
        assert not (image.root / program).exists(), image.name


def test_no_library_is_missing_where_only_what_is_needed_was_copied(
    operator: Image, pooler: Image, backup: Image
) -> None:
    for image in (operator, pooler, backup):
        files = [
            path for path in (image.root / "usr").rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"
        ]
        assert len(files) > 50
        loader = next(image.root.glob("usr/lib64/ld-linux-*")).name
        for file in files:
            inside = "/" + str(file.relative_to(image.root))
            command = ["chroot", image.root, f"/lib64/{loader}", "--list", inside]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert "cannot open shared object" not in done.stderr + done.stdout, done
            assert "not found" not in done.stderr + done.stdout, done


def test_the_command_runs_as_anybody_and_writes_nothing(operator: Image) -> None:
    done = operator.run(*operator.configuration["Entrypoint"], "--help", user=ANYBODY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "operator" in done.stdout
    done = operator.run("howdah", "crds", user=ANYBODY)
    assert done.stdout.count("kind: CustomResourceDefinition") >= 2


def test_an_operator_without_a_cluster_says_what_it_lacks(operator: Image) -> None:
    done = operator.run(*operator.entry_point)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "KUBECONFIG" in done.stdout + done.stderr


def test_the_instance_has_its_programs_on_the_path(instance: Image) -> None:
    for command, said in (
        (("postgres", "--version"), r"postgres \(PostgreSQL\) \d+"),
        (("psql", "--version"), r"psql \(PostgreSQL\) \d+"),
        (("pg_controldata", "--version"), r"pg_controldata"),
        (("patronictl", "--help"), r"Usage: patronictl"),
        (("python3", "-P", "-m", "patroni", "--version"), r"\S+ 4\."),
    ):
        done = instance.run(*command)
        assert re.match(said, done.stdout), (command, done)


def test_patroni_speaks_to_postgresql_by_the_smaller_driver(instance: Image) -> None:
    """psycopg 3, which is there for our own programs, would cost each pod 6 MiB."""
    done = instance.run("python3", "-P", "-c", "import patroni.psycopg as driver; print(driver.Error.__module__)")
    assert done.stdout == "psycopg2\n", done


def test_an_instance_without_an_environment_says_all_that_it_lacks(instance: Image) -> None:
    done = instance.run(*instance.entry_point)
    assert done.returncode == 78, done
    assert all(name in done.stderr for name in ("SCOPE", "POD_IP", "HOSTNAME", "DCS_ENABLE_KUBERNETES_API"))


def test_an_instance_that_lacks_a_major_says_which_it_has(instance: Image) -> None:
    present = sorted(int(path.parent.name) for path in instance.root.glob("usr/lib/postgresql/*/bin"))
    assert present
    done = instance.run(*instance.entry_point, environment={**INSTANCE, "PGVERSION": "12"}, writable=["/run"])
    assert done.returncode == 64, done
    assert "PostgreSQL 12 is not installed; present: " in done.stderr
    assert all(f"{major} (/usr/lib/postgresql/{major}/bin)" in done.stderr for major in present)


def test_the_instance_brings_no_cluster_of_debians_own(instance: Image) -> None:
    assert not list(instance.root.glob("etc/postgresql/*"))
    assert not list(instance.root.glob("var/lib/postgresql/*"))


def test_the_instance_makes_a_database_as_spilo_does(instance: Image) -> None:
    made = "/home/postgres/pgdata/data"
    script = (
        f"initdb --data-checksums --locale=en_US.UTF-8 --encoding=UTF8 -D {made} >/dev/null"
        f" && pg_ctl -w -D {made} -l /home/postgres/pgdata/log -o '-c listen_addresses= -c ssl=off"
        " -c shared_preload_libraries=pg_stat_statements,pg_stat_kcache,pgextwlist,set_user,pg_cron' start >/dev/null"
        " && psql -d postgres -Atc 'SHOW data_checksums' -c 'CREATE EXTENSION plpython3u' -c 'CREATE EXTENSION set_user'"
        " -c 'CREATE EXTENSION pg_stat_kcache CASCADE' -c \"SELECT 'ä' < 'b', pg_jit_available()\""
        f" && pg_ctl -m fast -D {made} stop >/dev/null"
    )
    done = instance.run("sh", "-c", script, writable=["/home/postgres/pgdata", "/run/postgresql", "/dev/shm"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "on"
    assert done.stdout.rstrip().endswith("t|t")


def test_a_pooler_starts_and_ends_when_it_is_told_to(pooler: Image) -> None:
    port = free_port()
    environment = {**POOLER, "CONNECTION_POOLER_PORT": str(port)}
    with pooler.start(pooler.entry_point, environment=environment, writable=["/tmp"]) as process:
        try:
            await_port(port)
            process.send_signal(signal.Signals[pooler.configuration["StopSignal"]])
            _, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "process up" in errors
    assert "not-in-a-log" not in errors


def test_a_backup_has_its_client_and_says_what_it_lacks(backup: Image) -> None:
    (program,) = list(backup.root.glob("usr/lib/postgresql/*/bin/pg_dumpall"))[-1:]
    assert backup.run("/" + str(program.relative_to(backup.root)), "--version").stdout.startswith(
        "pg_dumpall (PostgreSQL)"
    )
    done = backup.run(*backup.entry_point)
    assert done.returncode == 2, done
    assert "wrong environment" in done.stderr
    assert "Traceback" not in done.stderr


def below(root: Path) -> Iterator[Path]:
    """Every path of the image itself; nothing of devices."""
    for path in root.rglob("*"):
        if path.relative_to(root).parts[0] not in ("dev", "proc", "sys"):
            yield path


def goes_somewhere(path: Path, root: Path) -> bool:
    """As the image would follow it."""
    while path.is_symlink():
        target = path.readlink()
        path = root / target.relative_to("/") if target.is_absolute() else path.parent / target
    return path.exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def await_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)
        else:
            return
