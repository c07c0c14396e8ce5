"""Sends the corpus to both servers and pairs the answers; prints nothing."""

import secrets
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Many
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import yaml

from differential.client import Answer, Client
from differential.compare import Difference, differences
from differential.corpus import Sequence, Step, placeholders
from differential.known import Known
from differential.normalise import Normaliser
from howdah.model.crds import all_crds

FIXTURES = Path(__file__).parent / "fixtures.yaml"
PATIENCE = 5
"""How much longer is listened to watches where something differed: events that come a moment too late are no difference."""
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Compared:
    """One step, what both servers said (normalised), and what differs unexplained."""

    sequence: str
    step: str
    real: Answer
    ours: Answer
    unexplained: tuple[Difference, ...]
    explained: tuple[tuple[Difference, Known], ...]


def compared(corpus: Many[Sequence], real: Path, ours: Path, known: Many[Known]) -> tuple[Compared, ...]:
    """Every step of the corpus against the servers of two kubeconfigs, in the corpus' order."""

    def once(sequences: Many[Sequence], patience: int) -> list[list[Compared]]:
        def one_side(kubeconfig: Path) -> list[list[Answer]]:
            client, run = Client(kubeconfig, watch_s=patience), secrets.token_hex(3)
            for step in fixtures():
                client.send(step, placeholders("default"))
            return [_answers(client, sequence, run) for sequence in sequences]

        return [
            [
                paired(sequence.name, str(step), a, b, differences(a, b), known)
                for step, a, b in zip(sequence.steps, *of_both, strict=True)
            ]
            for sequence, *of_both in zip(sequences, *of_both_sides(one_side, real, ours), strict=True)
        ]

    return settled(corpus, once)


def of_both_sides(ask: Callable[[Path], list[list[Answer]]], real: Path, ours: Path) -> tuple[list[list[Answer]], ...]:
    """What both servers answer, asked at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return tuple(pool.map(ask, (real, ours)))


def settled(parts: Many[Part], once: Callable[[Many[Part], int], list[list[Compared]]]) -> tuple[Compared, ...]:
    """What `once(parts, patience)` finds of each part; what differs is looked at once more, with patience: that counts."""
    found = once(parts, 1)
    differ = [number for number, steps in enumerate(found) if any(step.unexplained for step in steps)]
    if differ:
        for number, steps in zip(differ, once([parts[number] for number in differ], PATIENCE), strict=True):
            found[number] = steps
    return tuple(chain.from_iterable(found))


def _answers(client: Client, sequence: Sequence, run: str) -> list[Answer]:
    namespace = sequence.namespace(run)
    values = placeholders(namespace)
    for step in preparation(namespace):
        client.send(step, values)
    normaliser = Normaliser(namespace)
    answers = []
    for number, step in enumerate(sequence.steps):
        values["step"] = str(number)
        answers.append(normaliser.answer(step, client.send(step, values)))
    return answers


def fixtures() -> tuple[Step, ...]:
    """The definitions that the corpus uses, ours among them, and the wait until they are served."""
    definitions = (*yaml.safe_load(FIXTURES.read_text()), *all_crds())
    made = [Step("POST", "$crd", crd, "application/json") for crd in definitions]
    served = [Step("GET", path, None, "application/json", until=200) for path in ("$thing", "$pg")]
    return (*made, *served)


def preparation(namespace: str) -> tuple[Step, ...]:
    """No controller makes the namespace's service account here, and pods are refused without it."""
    json = "application/json"
    return (
        Step("POST", "$ns", {"metadata": {"name": namespace}}, json),
        Step("POST", "$sa", {"metadata": {"name": "default"}}, json),
    )


def paired(
    name: str, step: str, real: Answer, ours: Answer, found: Iterable[Difference], known: Many[Known]
) -> Compared:
    """The differences of one step, those that `known` explains apart."""
    unexplained, explained = [], []
    for difference in found:
        row = next((k for k in known if k.matches(name, step, difference)), None)
        if row is None:
            unexplained.append(difference)
        else:
            explained.append((difference, row))
    return Compared(name, step, real, ours, tuple(unexplained), tuple(explained))


def stale(results: Many[Compared], known: Many[Known]) -> tuple[Known, ...]:
    """The known differences that did not show in a full run, and should have."""
    seen = {id(row) for result in results for _, row in result.explained}
    return tuple(row for row in known if id(row) not in seen and not row.sometimes)
