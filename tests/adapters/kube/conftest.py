"""A fake API server and a client of it for each test."""

from collections.abc import AsyncIterator

import pytest

from howdah.kube.client import Client
from howdah.kube.resources import custom_resource
from howdah.kube.testing import FakeKubernetes

POSTGRESQLS = custom_resource("acid.zalan.do/v1", "postgresql", "postgresqls")


@pytest.fixture
async def kube() -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes(POSTGRESQLS) as server:
        yield server


@pytest.fixture
async def client(kube: FakeKubernetes) -> AsyncIterator[Client]:
    async with kube.client(timeout_s=5) as made:
        yield made
