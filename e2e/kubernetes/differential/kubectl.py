"""The same kubectl commands against both servers: what a person sees must be the same."""

import difflib
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from differential import servers
from differential.client import Answer, Client
from differential.compare import Difference
from differential.corpus import CorpusError, Sequence, placeholders
from differential.known import Known
from differential.run import Compared, fixtures, of_both_sides, paired, preparation, settled

FOLDER = Path(__file__).parent / "kubectl"
TIMEOUT_S = 60
STOPPED = 124  # the exit code shown for a command that was ended after its `seconds`

MASKS = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4}|Z)?( UTC)?", "<time>"),
        (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+\d{4}", "<time>"),
        (r"(?i)(resource ?version[\\\\\": ]+)\d+", r"\1<version>"),
        (r"https://[\d.]+:\d+", "<server>"),
        (r"(?<![\w.])3[0-2]\d{3}(?![\w.])", "<port of nodes>"),
        (r"\b(10\.96|127\.\d+)\.\d+\.\d+\b", "<address>"),
        (r"(?<![\w-])(\d+[smhd]){1,2}(?![\w-])|<invalid>", "<age>"),
        (r"/tmp/(LIVE|MERGED)-\d+", r"/tmp/\1"),
        (r"kubectl-edit-\d+", "kubectl-edit"),
        (r" +$", ""),
        (r"(?<=\S) {2,}", "  "),  # columns are as wide as what they hold
    )
)
LOG = re.compile(r"[IWE]\d{4} ")  # kubectl's own log, such as a watch that ended early


@dataclass(frozen=True, slots=True)
class Command:
    """One call of kubectl. Only output lines that match `lines` are compared; after `seconds` it is ended."""

    line: str
    stdin: str = ""
    lines: str = ""
    seconds: float = TIMEOUT_S
    editor: str = "true"

    def __str__(self) -> str:
        return self.line


@dataclass(frozen=True, slots=True)
class Session:
    """Commands that build on each other, in one namespace."""

    name: str
    commands: tuple[Command, ...]


def sessions(pattern: str = "*", folder: Path = FOLDER) -> tuple[Session, ...]:
    return tuple(
        Session(name, tuple(_command(raw) for raw in commands))
        for file in sorted(folder.glob("*.yaml"))
        for name, commands in yaml.safe_load(file.read_text())["sessions"].items()
        if fnmatchcase(name, pattern)
    )


def _command(raw: Any) -> Command:
    if isinstance(raw, str):
        return Command(raw)
    options = {k: raw[k] for k in ("lines", "seconds", "editor") if k in raw}
    rest = [k for k in raw if k not in options]
    if len(rest) != 1:
        raise CorpusError(f"{rest}: expected one command with its standard input")
    objects = "\n".join(map(json.dumps, yaml.safe_load_all(raw[rest[0]] or "")))  # every kubectl reads JSON alike
    return Command(rest[0], objects, **options)


def programs() -> dict[str, Path]:
    """Every kubectl at hand, by version: the built one and the machine's."""
    found: dict[str, Path] = {}
    for program in (servers.programs() / "kubectl", shutil.which("kubectl")):
        if program:
            told = subprocess.run(
                [program, "version", "--client", "-o", "yaml"], capture_output=True, timeout=60, check=True
            )
            found[yaml.safe_load(told.stdout)["clientVersion"]["gitVersion"]] = Path(program)
    return found


def compared(all_sessions: Many[Session], real: Path, ours: Path, known: Many[Known]) -> tuple[Compared, ...]:
    """Every command by every kubectl against the servers of two kubeconfigs."""
    results: list[Compared] = []
    for version, program in programs().items():

        def once(
            some: Many[Session], patience: int, version: str = version, program: Path = program
        ) -> list[list[Compared]]:
            def one_side(kubeconfig: Path) -> list[list[Answer]]:
                client, run = Client(kubeconfig), secrets.token_hex(3)
                for step in fixtures():
                    client.send(step, placeholders("default"))
                with tempfile.TemporaryDirectory(prefix="howdah-differential-") as cache:
                    return [_answers(program, Path(cache), client, session, run, patience) for session in some]

            return [
                [
                    paired(f"{session.name} ({version})", str(command), a, b, tuple(_differences(a, b)), known)
                    for command, a, b in zip(session.commands, *of_both, strict=True)
                ]
                for session, *of_both in zip(some, *of_both_sides(one_side, real, ours), strict=True)
            ]

        results += settled(all_sessions, once)
    return tuple(results)


def _answers(program: Path, cache: Path, client: Client, session: Session, run: str, patience: int) -> list[Answer]:
    namespace = Sequence(session.name, ()).namespace(run)
    for step in preparation(namespace):
        client.send(step, placeholders(namespace))
    fixed = [
        f"--kubeconfig={client.kubeconfig}",
        f"--namespace={namespace}",
        f"--cache-dir={cache}",
        "--request-timeout=15s",
    ]
    commands = [replace(command, seconds=command.seconds * patience) for command in session.commands]
    return [_answer([str(program), *fixed], command, namespace, cache) for command in commands]


def _answer(start: list[str], command: Command, namespace: str, scratch: Path) -> Answer:
    line, stdin = (text.replace("$namespace", namespace) for text in (command.line, command.stdin))
    environment = os.environ | {
        "TMPDIR": str(scratch),  # kubectl keeps a copy of what it could not edit
        "KUBE_EDITOR": command.editor,
        "KUBECTL_EXTERNAL_DIFF": "diff -u -N",
        "GOGC": "off",  # each lives for a second: a fifth of its processor time went into collecting garbage
    }
    with subprocess.Popen(
        [*start, *shlex.split(line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        code = None
        try:
            out, errors = process.communicate(stdin, timeout=command.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
            code = STOPPED
    out, errors = (text.replace(str(scratch), "/tmp") for text in (out, errors))
    shown = {"stdout": _lines(out, namespace, command.lines), "stderr": _lines(errors, namespace, "")}
    return Answer(process.returncode if code is None else code, "", (), shown)


def _lines(text: str, namespace: str, pattern: str) -> list[str]:
    shown = []
    for line in text.replace(namespace, "$namespace").splitlines():
        for found, mask in MASKS:
            line = found.sub(mask, line)
        shown.append(line)
    return [line for line in shown if re.search(pattern, line) and not LOG.match(line)]


def _differences(real: Answer, ours: Answer) -> Iterator[Difference]:
    if real.code != ours.code:
        told = [f"exit {a.code}: " + " ".join(a.body["stderr"] or a.body["stdout"][:3]) for a in (real, ours)]
        yield Difference("code", "exit code", *told)
        return
    for stream, weight in (("stdout", "body"), ("stderr", "message")):
        a, b = real.body[stream], ours.body[stream]
        for kind, i, j, k, n in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if kind != "equal":
                yield Difference(weight, stream, "\n".join(a[i:j]), "\n".join(b[k:n]))
