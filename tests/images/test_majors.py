"""Every PostgreSQL of the instance's image: a leader and a replica under Patroni, and all extensions that came with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.apiserver.client import Server
from adapters.instance.world import Api, until
from images.container import Image, unpacked
from images.members import ImageWorld, started

CONTRIB = {"hstore", "pg_stat_statements", "pg_trgm", "pgcrypto", "postgres_fdw", "uuid-ossp", "xml2"}
# Each extension by itself, taken back at once. What it said where it could not be made.
MAKE_EACH = """
CREATE TEMP TABLE refused (name text, why text);
DO $$
DECLARE
    one name;
BEGIN
    FOR one IN SELECT name FROM pg_available_extensions WHERE installed_version IS NULL ORDER BY name LOOP
        BEGIN
            EXECUTE format('CREATE EXTENSION %I CASCADE', one);
            RAISE EXCEPTION SQLSTATE 'HW001';
        EXCEPTION
            WHEN SQLSTATE 'HW001' THEN NULL;
            WHEN OTHERS THEN INSERT INTO refused VALUES (one, SQLERRM);
        END;
    END LOOP;
END $$;
SELECT name || ': ' || why FROM refused ORDER BY name
"""
MUST_BE_PRELOADED = {"pgaudit"}

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def image() -> Image:
    return unpacked("instance")


@pytest.fixture(scope="module")
def api(
    image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:  # without one there is nothing to start
    folder = tmp_path_factory.mktemp("api")
    server = Server(folder / "state")
    server.start()
    readable = folder / "kubeconfig"  # by the user of the image
    readable.write_bytes(server.kubeconfig.read_bytes())
    readable.chmod(0o644)
    yield Api(readable)
    server.stop()


def majors(image: Image) -> list[int]:
    return sorted(int(place.parent.name) for place in image.root.glob("usr/lib/postgresql/*/bin"))


def test_the_label_names_the_majors(image: Image) -> None:
    assert [int(word) for word in image.configuration["Labels"]["dev.howdah.postgresql.majors"].split()] == majors(
        image
    )


def test_each_major_leads_streams_and_makes_its_extensions(image: Image, api: Api) -> None:
    assert majors(image)
    for index, major in enumerate(majors(image)):
        with tempfile.TemporaryDirectory(prefix="him-", dir="/tmp") as folder:
            network = f"127.{210 + index}.{os.getpid() % 250}"
            name = f"i{major}-{os.getpid()}"
            with started(ImageWorld(image, api, Path(folder), name, major=major, network=network)) as world:
                holds(world, major)


def holds(world: ImageWorld, major: int) -> None:
    leader = world.add()
    until(lambda: world.is_writable(leader), why=world.logs)
    replica = world.add()
    until(lambda: world.streaming(leader) == {replica.name}, why=world.logs)
    assert leader.sql("SHOW server_version").split(".")[0] == str(major)
    assert leader.sql("SELECT 'ä' < 'b', pg_jit_available()") == "t|t"
    assert set(leader.sql("SELECT name FROM pg_available_extensions").split("\n")) >= CONTRIB
    refused = [line.split(": ", 1) for line in leader.sql(MAKE_EACH).split("\n") if line]
    assert [line for line in refused if line[0] not in MUST_BE_PRELOADED] == []
