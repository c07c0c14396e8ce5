"""Credentials that a program prints; the programs here are real ones."""

import asyncio
import json
import os
import pty
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from howdah.kube import plugin as module
from howdah.kube.access import Access
from howdah.kube.credentials import kubeconfig_access
from howdah.kube.errors import CredentialError

PROGRAM = """
import datetime, json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "runs").open("a") as runs:
    runs.write("x")
number = len((here / "runs").read_text())
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert info["kind"] == "ExecCredential"
(here / "info").write_text(json.dumps(info))
exec((here / "then").read_text())
"""
PRINT = "print(json.dumps({{'kind': 'ExecCredential', 'status': {{'token': f'token-{{number}}', {more}}}}}))"


def expiring(seconds: float) -> str:
    return f"'expirationTimestamp': {(datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()!r}"


class World:
    """One kubeconfig whose user is a program, and how often that was run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "plugin.py").write_text(PROGRAM)

    def does(self, code: str) -> None:
        """From now on, with `number` the run's number."""
        (self._folder / "then").write_text(code)

    def prints(self, more: str) -> None:
        self.does(PRINT.format(more=more))

    @property
    def runs(self) -> int:
        return len((self._folder / "runs").read_text())

    @property
    def told(self) -> Any:
        return json.loads((self._folder / "info").read_text())["spec"]

    def access(self, **more: Any) -> Access:
        program = {"command": sys.executable, "args": [str(self._folder / "plugin.py")], **more}
        document = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", "tls-server-name": "kube"}}],
            "users": [{"name": "u", "user": {"exec": program}}],
        }
        (self._folder / "config").write_text(yaml.safe_dump(document))
        return kubeconfig_access([self._folder / "config"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def token(access: Access) -> str:
    return (await access.credentials.proof()).token


async def test_a_token_is_kept_until_it_is_refused(world: World) -> None:
    world.prints(expiring(3600))
    access = world.access()
    assert [await token(access), await token(access)] == ["token-1", "token-1"]
    access.credentials.reject()
    assert await token(access) == "token-2"


async def test_a_token_for_less_than_a_minute_serves_many_calls_with_one_context(world: World) -> None:
    world.prints(expiring(50))
    access = world.access()
    proofs = [await access.credentials.proof() for _ in range(20)]
    assert world.runs == 1
    access.credentials.reject()
    assert {id(proof.tls) for proof in (*proofs, await access.credentials.proof())} == {id(proofs[0].tls)}


async def test_a_token_is_renewed_a_part_of_its_life_before_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prints(expiring(3600))
    access = world.access()
    assert await token(access) == "token-1"
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3600 - 61)
    assert await token(access) == "token-1"
    monkeypatch.setattr(module.time, "time", lambda: now + 3600 - 59)
    assert await token(access) == "token-2"


async def test_while_a_token_is_valid_nobody_waits_for_the_next_and_a_failure_keeps_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prints(expiring(3600))
    access = world.access()
    assert await token(access) == "token-1"
    world.does("time.sleep(1.0); sys.exit(1)")
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3600 - 30)
    first = asyncio.create_task(token(access))
    while world.runs < 2:
        await asyncio.sleep(0.01)
    assert await token(access) == "token-1"
    assert not first.done()
    assert await first == "token-1"


async def test_calls_at_once_are_one_run(world: World) -> None:
    world.does(f"time.sleep(0.2); {PRINT.format(more=expiring(3600))}")
    access = world.access()
    assert set(await asyncio.gather(*(token(access) for _ in range(8)))) == {"token-1"}


@pytest.mark.parametrize(
    ("code", "outcome"), [("sys.exit(1)", "exit code 1"), (PRINT.format(more=expiring(-5)), "token-")]
)
async def test_a_program_of_no_use_is_not_run_at_each_call(world: World, code: str, outcome: str) -> None:
    world.does(code)
    access = world.access()
    for _ in range(50):
        try:
            said = await token(access)
        except CredentialError as error:
            said = str(error)
        assert outcome in said
    assert world.runs <= 3


async def test_tokens_that_are_refused_one_after_the_other_are_not_made_at_each_call(world: World) -> None:
    world.prints(expiring(3600))
    access = world.access()
    for _ in range(50):
        await token(access)
        access.credentials.reject()
    assert world.runs <= 4


async def test_a_failed_program_is_run_again_after_a_pause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.1)
    world.does("sys.exit(1)")
    access = world.access()
    with pytest.raises(CredentialError):
        await token(access)
    world.prints(expiring(3600))
    await asyncio.sleep(0.15)
    assert await token(access) == "token-2"


async def test_the_last_words_of_a_failing_program_are_told_without_what_it_printed_or_was_given(world: World) -> None:
    world.does(
        "print('token-12345678'); print('something', file=sys.stderr)\n"
        "print('run `az login` first, not', os.environ['KEY'], 'eyJhbGciOiJSUzI1NiIsImtpZCI6Ij', '\\x1b[0m', file=sys.stderr)\n"
        "sys.exit(3)"
    )
    access = world.access(env=[{"name": "KEY", "value": "hunter2-hunter2-hunter2"}])
    with pytest.raises(
        CredentialError, match=r"config: users 'u': .* ended with exit code 3: run `az login`"
    ) as caught:
        await token(access)
    assert not any(word in str(caught.value) for word in ("12345678", "hunter2", "eyJ", "something", "\x1b"))


@pytest.mark.parametrize("moment", ["soon", "2026-01-31T12:00:00"])
async def test_an_end_that_is_no_time_is_explained(world: World, moment: str) -> None:
    world.prints(f"'expirationTimestamp': {moment!r}")
    with pytest.raises(CredentialError, match=r"config: users 'u': .* printed an expirationTimestamp that is no time"):
        await token(world.access())


@pytest.mark.parametrize(
    "code", ["print('{}')", "print(b'\\xff')", "print('[]')", 'print(\'{"status": {"token": 5}}\')']
)
async def test_what_is_no_credential_is_explained(world: World, code: str) -> None:
    world.does(code)
    with pytest.raises(CredentialError, match="did not print an ExecCredential"):
        await token(world.access())


async def test_a_missing_program_says_how_to_get_it(world: World) -> None:
    with pytest.raises(CredentialError, match="cannot be started; install it from there"):
        await token(world.access(command="no-such-plugin", installHint="install it\nfrom there"))


async def test_a_program_that_needs_a_person_is_not_run_without_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prints(expiring(3600))
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(
            CredentialError, match="config: users 'u': interactiveMode is Always, and there is no terminal"
        ):
            await token(world.access(interactiveMode="Always"))


@pytest.mark.parametrize(("mode", "is_asked"), [("Always", True), ("IfAvailable", True), ("Never", False)])
async def test_a_program_that_takes_a_terminal_gets_it(
    world: World, monkeypatch: pytest.MonkeyPatch, mode: str, is_asked: bool
) -> None:
    world.prints(expiring(3600))
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert await token(world.access(interactiveMode=mode)) == "token-1"
    os.close(ours)
    assert world.told == {"interactive": is_asked}


async def test_a_program_that_asks_is_told_of_the_server(world: World) -> None:
    world.prints(expiring(3600))
    await token(world.access(provideClusterInfo=True))
    assert world.told["cluster"] == {"server": "https://127.0.0.1:6443/", "tls-server-name": "kube"}
