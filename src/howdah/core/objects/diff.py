"""What a difference between an intended and a live object costs: a table from path to effect.

`compare` asks about one object, `template_differences` about the template that a pod was made from. Neither counts what
the API server fills in, nor what others write beside what we intend; what we wrote and no longer intend is `given_up`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from howdah.core.objects.containment import ABSENT, Found, Scope, Step, found_differences
from howdah.core.objects.given_up import given_up
from howdah.model import names

__all__ = ["Difference", "Effect", "compare", "given_up", "is_ever_changed", "left_over", "template_differences"]


class Effect(Enum):
    """What has to happen for a difference to go away."""

    PATCH = "patch"
    """The object is written, and no pod is touched."""
    ROLL = "roll"
    """Pods are replaced one by one."""
    REPLACE = "replace"
    """The API does not let the field change: the object is deleted, a StatefulSet without its pods, and made again."""
    IGNORE = "ignore"
    """Nothing: it is not ours, or it acts no more."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field. `intended` or `live` is None where that side does not have it; `reason` is for people.

    `is_one_way`: the reference operator would roll pods for it, if it came back.
    """

    path: str
    intended: Any
    live: Any
    effect: Effect
    reason: str
    is_one_way: bool = False


Rule = tuple[tuple[str, ...], Effect]

_TEMPLATE: tuple[Rule, ...] = (
    (("metadata", "annotations"), Effect.PATCH),  # running pods take them too
    (("metadata", "namespace"), Effect.IGNORE),
    (("metadata", "name"), Effect.IGNORE),
    (("metadata",), Effect.ROLL),
    # What only counts when a pod is made or ends the next time.
    (("spec", "containers", "imagePullPolicy"), Effect.PATCH),
    (("spec", "initContainers", "imagePullPolicy"), Effect.PATCH),
    (("spec", "schedulerName"), Effect.PATCH),
    (("spec",), Effect.ROLL),
)
"""Rules of a pod template: the first whose fields a path begins with. List items have no step of their own."""

_OBJECTS: Mapping[str, tuple[Rule, ...]] = {
    "StatefulSet": (
        (("metadata",), Effect.PATCH),
        (("spec", "podManagementPolicy"), Effect.REPLACE),
        (("spec", "selector"), Effect.REPLACE),
        (("spec", "serviceName"), Effect.REPLACE),
        (("spec", "volumeClaimTemplates"), Effect.REPLACE),
        *((("spec", "template", *steps), effect) for steps, effect in _TEMPLATE),
        (("spec",), Effect.PATCH),
    ),
    "Deployment": (
        (("spec", "selector"), Effect.REPLACE),
        (("spec", "template", "metadata", "namespace"), Effect.IGNORE),
        (("spec", "template"), Effect.ROLL),
        ((), Effect.PATCH),
    ),
    # Both are made once per namespace and shared by its clusters; only the cloud role is kept.
    "ServiceAccount": ((("metadata", "annotations", names.IRSA_ROLE), Effect.PATCH), ((), Effect.IGNORE)),
    "RoleBinding": (((), Effect.IGNORE),),
}
_ANY_OTHER: tuple[Rule, ...] = (((), Effect.PATCH),)

CREDENTIALS = frozenset({"CLONE_AWS_ACCESS_KEY_ID", "CLONE_AWS_SECRET_ACCESS_KEY", "SCALYR_API_KEY"})
"""Variables that the reference writes as literals and we as references to a Secret with the same value."""


def compare(intended: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What of `intended` is not in `live`, an object of the same kind as the API server returned it.

    Differences that are to be ignored are left out, so an empty answer means that nothing is to be written.
    """
    rules = _OBJECTS.get(intended["kind"], _ANY_OTHER)
    return tuple(_judged(_found(intended, live), rules))


def is_ever_changed(kind: str) -> bool:
    """Whether anything of an object of this kind is written once it is made; else nobody needs the right to do it."""
    return any(effect is not Effect.IGNORE for _, effect in _OBJECTS.get(kind, _ANY_OTHER))


def left_over(paths: Iterable[str], kind: str) -> tuple[Difference, ...]:
    """What is `given_up` of an object of this kind, as differences: what goes from a template of pods rolls them."""
    if not is_ever_changed(kind):
        return ()
    rules = _OBJECTS.get(kind, _ANY_OTHER)
    return tuple(Difference(path, None, "…", _cost(path, rules), f"{path} is not intended any more") for path in paths)


def _cost(path: str, rules: tuple[Rule, ...]) -> Effect:
    """Nothing is left as it is for having been written: it goes by the same write as ever, which pods may follow."""
    fields = tuple(re.sub(r"\[[^]]*\]", "", path).split("."))
    return Effect.ROLL if _effect(fields, rules) is Effect.ROLL else Effect.PATCH


def _found(intended: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Found]:
    own = {key: value for key, value in intended.items() if key not in ("apiVersion", "kind")}
    yield from found_differences(own, live, Scope.CONTAINED)
    if intended["kind"] == "StatefulSet":  # what may not change is wrong already with something beside it
        for part in ("selector", "volumeClaimTemplates"):
            at = Step(("spec", part), part)
            beside = found_differences(intended["spec"][part], live["spec"].get(part), Scope.EQUAL, at)
            yield from (one for one in beside if one.intended is ABSENT)


def template_differences(
    intended: Mapping[str, Any], revision: Mapping[str, Any], *, standing: Mapping[str, Any] | None = None
) -> tuple[Difference, ...]:
    """What differs between the intended pod template and the one that a pod was made from, in both directions.

    `standing`: the template of the live StatefulSet, if known. What the revision has in common with it does not count:
    a new pod would be made with it again, whoever wrote it there, and whatever is held back.
    """
    found = found_differences(intended, revision, Scope.EQUAL)
    if standing is not None:
        same = {one.steps: one.live for one in found_differences(intended, standing, Scope.EQUAL)}
        found = (one for one in found if one.steps not in same or same[one.steps] != one.live)
    return tuple(_judged(found, _TEMPLATE))


def _judged(found: Iterator[Found], rules: tuple[Rule, ...]) -> Iterator[Difference]:
    for one in found:
        is_credential = _is_credential(one)
        effect = Effect.PATCH if is_credential else _effect(one.steps, rules)
        if effect is Effect.IGNORE:
            continue
        path = _path(one.steps)
        if is_credential:
            reason = (
                f"{path} differs: the credential moves into a Secret, which the reference would undo by rolling pods"
            )
            yield Difference(path, None, None, effect, reason, is_one_way=True)
        elif _is_variable(one.steps):  # its value may be a credential, and reasons are read by many
            yield Difference(path, None, None, effect, f"{path} differs")
        else:
            yield Difference(path, _or_none(one.intended), _or_none(one.live), effect, _reason(path, one))


def _is_variable(steps: tuple[str, ...]) -> bool:
    """Whether this is the literal value of an environment variable."""
    return steps[-1] == "value" and "env" in steps


def _effect(steps: tuple[str, ...], rules: tuple[Rule, ...]) -> Effect:
    fields = tuple(step for step in steps if not step.startswith("["))
    return next((effect for pattern, effect in rules if fields[: len(pattern)] == pattern), Effect.PATCH)


def _is_credential(one: Found) -> bool:
    """A literal that becomes a reference to the Secret that we keep its value in."""
    variable = next((step[1:-1] for step in reversed(one.steps) if step.startswith("[")), "")
    is_literal_gone = one.steps[-1] == "value" and one.intended is ABSENT
    is_reference_new = one.steps[-1] == "valueFrom" and one.live is ABSENT
    return variable in CREDENTIALS and (is_literal_gone or is_reference_new)


def _path(steps: tuple[str, ...]) -> str:
    """`spec.template.spec.containers[postgres].image`."""
    text = ""
    for step in steps:
        text += step if step.startswith("[") else f"[{step}]" if "." in step or "/" in step else f".{step}"
    return text.removeprefix(".")


def _or_none(value: Any) -> Any:
    return None if value is ABSENT else value


def _reason(path: str, one: Found) -> str:
    if one.live is ABSENT:
        return f"{path} is missing{_shown(': ', one.intended)}"
    if one.intended is ABSENT:
        return f"{path} is not intended any more"
    return f"{path} is {_text(one.live)} and shall be {_text(one.intended)}"


def _shown(before: str, value: Any) -> str:
    return "" if isinstance(value, Mapping | list | tuple) else f"{before}{_text(value)}"


def _text(value: Any) -> str:
    """Short enough for a sentence; values of variables are not secret, for credentials are references."""
    if isinstance(value, Mapping):
        return "another object"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
