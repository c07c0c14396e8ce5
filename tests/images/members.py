"""Members of a cluster in the instance's image: as `adapters.instance.world` has them, each in a container of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters.instance.world import SUPERUSER_PASSWORD, Api, Member, World
from images.container import Image

WRITABLE = ("/home/postgres/pgdata", "/run", "/tmp", "/dev/shm")
PASSED_ON = ("PGROOT", "RW_DIR", "TERMINATION_LOG", "PATH")  # the image says these itself, or needs them not


@dataclass
class Contained(Member):
    """One that the image starts, with its own PostgreSQL to ask it."""

    image: Image = field(kw_only=True)
    bin_dir: str = field(kw_only=True)

    def start(self) -> None:
        given = {name: value for name, value in self.environment.items() if name not in PASSED_ON}
        with self.log.open("ab") as log:
            self.process = self.image.start(
                self.image.entry_point,
                environment={**given, "KUBECONFIG": "/kubeconfig"},
                files={"/kubeconfig": Path(self.environment["KUBECONFIG"])},
                writable=WRITABLE,
                log=log,
            )

    def sql(self, statement: str, *, timeout_s: float = 10) -> str:
        where = {
            "PGHOST": self.address,
            "PGUSER": "postgres",
            "PGPASSWORD": SUPERUSER_PASSWORD,
            "PGCONNECT_TIMEOUT": "3",
        }
        ask = (f"{self.bin_dir}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", statement)
        done = self.image.run(*ask, environment=where)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


class ImageWorld(World):
    """A cluster in that image."""

    def __init__(self, image: Image, api: Api, folder: Path, name: str, *, major: int, network: str) -> None:
        super().__init__(api, folder, name, major=major, mode="configmaps", network=network)
        self.image = image

    def member(self, name: str, address: str, folder: Path, environment: Mapping[str, str]) -> Member:
        bin_dir = f"/usr/lib/postgresql/{self.major}/bin"
        return Contained(name, address, folder, dict(environment), image=self.image, bin_dir=bin_dir)


@contextmanager
def started(world: ImageWorld) -> Iterator[ImageWorld]:
    try:
        yield world
    finally:
        world.end()
