"""Writes docs/reference/*.md from the code, so that they cannot say something else; `--check` says which are out of date.

A page is a function without arguments that gives the whole text. What it documents is read from the code's own data
(tables, models, the command tree), and where the code has no such data, from its syntax tree.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer.main

from howdah.cli.main import app
from howdah.controller.metrics import Metrics
from howdah.core import plan
from howdah.core.permissions import GRANTS, POD_GRANTS, POD_ROLES, Grant
from howdah.core.plan import Step
from howdah.model import coverage, names
from howdah.model.crds import all_crds
from howdah.model.settings import OPTIONS, Option
from howdah.model.settings.changes import AT_START
from howdah.model.settings.table import REMOVED

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "howdah"
PLACE = ROOT / "docs" / "reference"
README = ROOT / "README.md"
BEGIN, END = "<!-- made by docs/generate.py: `make docs` -->", "<!-- end of what is made -->"
NOTICE = "<!-- Made by docs/generate.py from the code. Run `make docs` instead of editing it. -->\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def code(value: object) -> str:
    """In code style; nothing for nothing."""
    return f"`{value}`" if value not in (None, "") else ""


STATES = (
    "What is `done` is acted on. `reported only`: read, checked, and a warning where it is used. `partly`: as it says. "
    "`ignored`: there is nothing to do for it here.\n"
)


# --- settings -------------------------------------------------------------------------------------------------------


def settings() -> str:
    """One row per option, by group."""
    parts = [
        "# Settings of the operator\n",
        "Read from an `OperatorConfiguration` (named by the variable `POSTGRES_OPERATOR_CONFIGURATION_OBJECT`, in the "
        "operator's namespace) or from a ConfigMap (named by `CONFIG_MAP_NAME`, as `name` or `namespace/name`); without "
        "either the defaults of a ConfigMap hold. In an `OperatorConfiguration` the options are under `configuration` and "
        "the group of their heading, in a ConfigMap they are keys of `data`, as strings.\n",
        "A changed configuration is taken up within 30 seconds, without a restart; what rolls pods is subject to "
        "`max_rolling_clusters`. One with mistakes is not taken: the one before stays in force. These options keep their "
        "old value until the operator starts again, for by them it finds what it made: "
        + ", ".join(map(code, sorted(AT_START)))
        + ". Both are said by an event on the configuration (`ConfigurationRefused`, `ConfigurationHeld`) and by the metric "
        "`howdah_configuration_in_force`.\n",
        "Where both columns of defaults differ, the forms have different defaults, as in the reference operator. A default "
        "of the second column holds where the group is present.\n",
        STATES,
    ]
    groups: dict[str, list[Option]] = {}
    for option in OPTIONS.values():
        groups.setdefault(option.group, []).append(option)
    for group, options in groups.items():
        parts.append(f"## {f'`{group}`' if group else 'General: directly under `configuration`'}\n")
        parts.append(
            table(("option", "kind", "ConfigMap", "OperatorConfiguration", "state", "meaning"), map(_option, options))
            + "\n"
        )
    parts.append("## Ignored\n\nOptions of older releases; each is reported when it is set.\n")
    parts.append(table(("option", "instead"), ((code(name), hint) for name, hint in sorted(REMOVED.items()))) + "\n")
    return "\n".join(parts)


def _option(option: Option) -> tuple[str, ...]:
    in_object = option.schema if option.schema is not None else option.fallback
    meaning = option.help + (" (a credential, never shown)" if option.is_secret else "")
    state = str(coverage.of_option(option.name))
    return code(option.name), option.kind.name, _value(option.default), _value(in_object), state, meaning


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return code(", ".join(f"{key}:{part}" for key, part in value.items()))
    if isinstance(value, list | tuple):
        return code(",".join(map(str, value)))
    return code(str(value).lower() if isinstance(value, bool) else value)


# --- what works, in the README -------------------------------------------------------------------------------------


def states() -> str:
    """How many fields and options are acted on, and every one that is not, by its reason."""
    spec = all_crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields = [_plain_path(row[0]) for row in _fields(spec, "")]
    groups: dict[coverage.Coverage, tuple[list[str], list[str]]] = {}
    for found, place, name in (
        *((coverage.FIELDS[name], 0, name) for name in coverage.FIELDS),
        *((coverage.OPTIONS[name], 1, name) for name in coverage.OPTIONS),
    ):
        groups.setdefault(found, ([], []))[place].append(name)
    rows = [
        (str(found), ", ".join(map(code, names)), ", ".join(map(code, _shortened(options))))
        for found, (names, options) in sorted(groups.items(), key=lambda item: str(item[0]))
    ]
    return "\n".join(
        (
            f"{_share(map(coverage.of_field, fields))} fields of the manifest and "
            f"{_share(map(coverage.of_option, OPTIONS))} options of the operator are acted on in full. The others are read, "
            "checked and kept, and a warning says so where one is used:\n",
            table(("state", "fields, with all below them", "options"), rows),
        )
    )


def _share(found: Iterable[coverage.Coverage]) -> str:
    all_of_them = list(found)
    return f"{sum(one.state is coverage.State.DONE for one in all_of_them)} of {len(all_of_them)}"


def _shortened(options: Sequence[str]) -> Iterator[str]:
    """Options by name; a prefix that has no others stands for all of its own."""
    told: set[str] = set()
    for name in options:
        prefixes = (name[: at + 1] for at, letter in enumerate(name) if letter == "_")
        whole = [(len(own), prefix) for prefix in prefixes if len(own := _beginning(prefix)) > 2 and own <= {*options}]
        shown = f"{max(whole)[1]}*" if whole else name
        if shown not in told:
            told.add(shown)
            yield shown


def _beginning(prefix: str) -> set[str]:
    return {name for name in OPTIONS if name.startswith(prefix)}


def spliced(page: str, part: str) -> str:
    """The page with `part` between the marks of its generated part."""
    before, rest = page.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{part}\n{END}{rest.split(END, 1)[1]}"


# --- manifest and CRDs ----------------------------------------------------------------------------------------------


def manifest() -> str:
    """Every field of the schema that the API server enforces."""
    schema = all_crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    spec, status = schema["spec"], schema["status"]
    header = ("field", "type", "meaning")
    states = ((*row, str(coverage.of_field(_plain_path(row[0])))) for row in _fields(spec, ""))
    return "\n".join(
        (
            "# The manifest: `postgresql`, `acid.zalan.do/v1`\n",
            "Fields of `spec`. Those in bold are required (a field within an optional section: where the section is "
            "there). `*` stands for a name that you choose, `[]` for an item of a list. Unknown fields are kept and "
            "reported. Every mistake is told at once, with its path and what to write instead: by the API server where "
            "the schema can say it, else by `howdah plan`, in the condition `Degraded` and in an event.\n",
            STATES,
            table(("field", "type", "meaning", "state"), states) + "\n",
            "## Status\n",
            "Written by the operator.\n",
            table(header, _fields(status, "")) + "\n",
        )
    )


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, ...]]:
    required = schema.get("required") or ()
    for name, field in (schema.get("properties") or {}).items():
        here = f"{path}.{name}".lstrip(".")
        shown = code(here)
        yield (f"**{shown}**" if name in required else shown), _type(field), _meaning(field)
        yield from _below(field, here)


def _plain_path(shown: str) -> str:
    """The path as the table of states has it: `additionalVolumes.name` for a cell with `additionalVolumes[].name`."""
    return re.sub(r"\[\]|\.\*(?=\W|$)", "", shown.strip("*`"))


def _below(field: Mapping[str, Any], here: str) -> Iterator[tuple[str, ...]]:
    yield from _fields(field, here)
    for part, mark in (("items", "[]"), ("additionalProperties", ".*")):
        inner = field.get(part)
        if isinstance(inner, Mapping):
            yield from _below(inner, f"{here}{mark}")


def _type(field: Mapping[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "string or integer"
    kind = str(field.get("type", "any"))
    inner = field.get("items") or field.get("additionalProperties")
    if kind == "array":
        return f"list of {_type(inner)}" if isinstance(inner, Mapping) else "list"
    if kind == "object" and isinstance(inner, Mapping):
        return f"map of {_type(inner)}"
    return kind


def _meaning(field: Mapping[str, Any]) -> str:
    said = [str(field.get("description", ""))]
    values = field.get("enum") or (field.get("items") or {}).get("enum") or ()
    lower = list(dict.fromkeys(str(value) for value in values if not str(value).isupper()))
    if lower:
        said.append("one of " + ", ".join(code(value) for value in lower))
    if "default" in field:
        said.append(f"default {_value(field['default'])}")
    limits = [f"{word} {field[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in field]
    if limits:
        said.append(" ".join(limits))
    return "; ".join(part for part in said if part)


def crds() -> str:
    """What is installed, and how kubectl shows it."""
    parts = [
        "# Custom resource definitions\n",
        "`howdah crds` prints them; the operator installs and updates them at its start where it may "
        "(`enable_crd_registration`).\n",
        "```sh\nhowdah crds | kubectl apply --server-side -f -\n```\n",
    ]
    for crd in all_crds():
        kind, version = crd["spec"]["names"], crd["spec"]["versions"][0]
        parts.append(f"## {kind['kind']}\n")
        short = ", ".join(code(name) for name in kind.get("shortNames") or ())
        parts.append(
            f"`{crd['metadata']['name']}`, version `{version['name']}`; kubectl knows it as `{kind['plural']}`"
            + (f", {short}.\n" if short else ".\n")
        )
        columns = version.get("additionalPrinterColumns") or ()
        if columns:
            rows = ((column["name"], code(column["jsonPath"])) for column in columns)
            parts.append(table(("column of `kubectl get`", "from"), rows) + "\n")
    return "\n".join(parts)


# --- command line ---------------------------------------------------------------------------------------------------


def cli() -> str:
    """Every command with its arguments, options and exit codes."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# The `howdah` command\n",
        f"{root.help}\n",
        "The same command is a plugin of kubectl when it is called `kubectl-pg`: `kubectl pg status`. `--kubeconfig`, "
        "`--context` and `--namespace` mean what they mean for kubectl. Colour and live progress appear on a terminal "
        "only; the variable `NO_COLOR` turns colour off.\n",
        "Which names and labels a cluster has depends on the operator's configuration: it is read from the cluster, and "
        "where several operators are configured, `POSTGRES_OPERATOR_CONFIGURATION_OBJECT` (or `CONFIG_MAP_NAME`) and "
        "`OPERATOR_NAMESPACE` in the environment say which one is meant.\n",
        "## Exit codes\n",
        table(("code", "meaning"), _exit_codes()) + "\n",
    ]
    for path, command in _commands(root, "howdah"):
        parts.append(f"## `{path}`\n")
        parts.append(f"{_prose(command.help or '')}\n")
        parts.append(f"```sh\n{_usage(path, command)}\n```\n")
        rows = list(_parameters(command))
        if rows:
            parts.append(table(("argument or option", "default", "meaning"), rows) + "\n")
    return "\n".join(parts)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _usage(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [p.name.upper() + ("…" if p.nargs == -1 else "") for p in arguments]
    shown = [word if p.required else f"[{word}]" for word, p in zip(words, arguments, strict=True)]
    return " ".join([path, *shown, *(["[OPTIONS]"] if len(arguments) < len(command.params) else [])])


def _parameters(command: Any) -> Iterator[tuple[str, ...]]:
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        called = ", ".join(code(name) for name in parameter.opts) if is_option else code(parameter.name.upper())
        default = "" if parameter.default is None or getattr(parameter, "is_flag", False) else code(parameter.default)
        yield called, "required" if parameter.required else default, parameter.help or ""


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _exit_codes() -> Iterator[tuple[str, str]]:
    yield "0", "success"
    source = (SOURCE / "cli" / "exits.py").read_text()
    for name, number, meaning in re.findall(r"^    ([A-Z_]+) = (\d+)(?:  # (.*))?$", source, flags=re.MULTILINE):
        yield number, meaning or name.lower().replace("_", " ")


# --- metrics --------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """What /metrics offers."""
    found = Metrics()
    found.watch(clusters_by_phase=lambda: {"Running": 1}, queue_depth=lambda: 0, denied=lambda: [("Secret", "team")])
    families = sorted(found.registry.collect(), key=lambda family: family.name)
    rows = (
        (code(_metric(family)), family.type, _labels(family.name, found), family.documentation) for family in families
    )
    return "\n".join(
        (
            "# Metrics\n",
            "The operator answers on `api_port` (`howdah operator --listen HOST:PORT`): `/metrics` for Prometheus, "
            "`/healthz` and `/readyz` for probes (200, or 503 with the reason). Nothing is labelled by cluster, so that "
            "the number of series does not grow with the number of clusters.\n",
            table(("metric", "type", "labels", "meaning"), rows) + "\n",
        )
    )


def _metric(family: Any) -> str:
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def _labels(name: str, found: Metrics) -> str:
    known = {str(getattr(one, "_name", "")): getattr(one, "_labelnames", ()) for one in vars(found).values()}
    for family in found.registry.collect():
        if family.name == name and name not in known:
            return ", ".join(code(label) for sample in family.samples[:1] for label in sample.labels)
    return ", ".join(code(label) for label in known.get(name, ()))


# --- conditions, events, annotations --------------------------------------------------------------------------------


def conditions() -> str:
    """Conditions with their reasons, events, and annotations that people and programs use."""
    status = ast.parse((SOURCE / "core" / "status.py").read_text())
    controller = (ast.parse(path.read_text()) for path in sorted((SOURCE / "controller").glob("*.py")))
    return "\n".join(
        (
            "# Status, conditions, events, annotations\n",
            "`status.PostgresClusterStatus` is the reference operator's word for the whole:\n",
            table(("PostgresClusterStatus",), ((code(word),) for word in _phases(status))) + "\n",
            "## Conditions\n",
            "A condition's `lastTransitionTime` is that of its `status`. `…` stands for what the case fills in.\n",
            table(("condition", "status", "reason", "message"), _condition_rows(status)) + "\n",
            "## Events\n",
            "Recorded on the resource, one for each transition.\n",
            table(("reason", "type", "when"), _events(status, controller)) + "\n",
            "## Annotations\n",
            "Those of the operator itself; which further ones confirm a deletion or lift limits is said in the "
            "[settings](settings.md).\n",
            table(("annotation", "meaning"), _annotations()) + "\n",
        )
    )


def _phases(tree: ast.Module) -> list[str]:
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "phase")
    words: dict[str, None] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            words.update(dict.fromkeys(_texts(node.value)))
    return sorted(words)


def _condition_rows(tree: ast.Module) -> list[tuple[str, ...]]:
    rows: dict[tuple[str, ...], None] = {}
    for call in _calls(tree, "Condition"):
        kind, status, reason, message = call.args
        for word in _texts(reason):
            rows[(code(_shown(kind)), code(_shown(status)), code(word), _shown(message))] = None
    order = list(dict.fromkeys(row[0] for row in sorted(rows, key=lambda row: row[0] != "`Ready`")))
    return sorted(rows, key=lambda row: (order.index(row[0]), row[1] == "`False`"))


def _events(status: ast.Module, controller: Iterable[ast.Module]) -> Iterator[tuple[str, ...]]:
    seen: set[str] = set()
    for (condition, state), (kind, reason, message) in _event_table(status).items():
        because = reason or "the condition's reason"
        seen.add(reason)
        said = f"condition `{condition}` becomes `{state}`" + (f": {message}" if message else "")
        yield (code(reason) if reason else because), kind, said
    for tree in (status, *controller):
        for call in _calls(tree, "Event"):
            words = [_shown(argument) for argument in call.args]
            if len(words) == 3 and isinstance(call.args[1], ast.Constant) and words[1] not in seen:
                yield code(words[1]), words[0], words[2]
    for step in _steps():
        if step.disruptive:
            yield code(step.__name__), "Normal", f"done: {_first_line(step)}"
    yield (
        "`<step>Failed`",
        "Warning",
        "a step failed; the message says on what and why. Steps: "
        + ", ".join(code(step.__name__) for step in _steps()),
    )


def _event_table(tree: ast.Module) -> Mapping[tuple[str, str], tuple[str, str, str]]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "_EVENTS" and node.value is not None:
            found: Mapping[tuple[str, str], tuple[str, str, str]] = ast.literal_eval(node.value)
            return found
    raise LookupError("core/status.py has no table _EVENTS any more; change docs/generate.py with it")


def _steps() -> list[type[Step]]:
    found = (value for value in vars(plan).values() if isinstance(value, type) and issubclass(value, Step))
    named = (step for step in found if step is not Step and not step.__name__.startswith("_"))
    return sorted(named, key=lambda step: step.__name__)


def _first_line(step: type[Step]) -> str:
    return (step.__doc__ or "").splitlines()[0]


def _annotations() -> Iterator[tuple[str, str]]:
    """Constants of `model.names` that are documented and are keys of annotations."""
    body = ast.parse((SOURCE / "model" / "names.py").read_text()).body
    for node, following in pairwise(body):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        value = getattr(names, node.targets[0].id)
        said = following.value if isinstance(following, ast.Expr) else None
        is_key = isinstance(value, str) and re.match(r"[a-z.]+/[a-z]|zalando-", value)
        if is_key and isinstance(said, ast.Constant):
            values = " or ".join(code(pause.value) for pause in names.Pause if pause)
            yield code(value), " ".join(str(said.value).split()).replace("see `Pause`", values)


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name and node.args:
            yield node


def _texts(node: ast.expr) -> list[str]:
    """The strings that an expression can be: of a choice, both."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _shown(node: ast.expr) -> str:
    """A string as a reader may see it; what is filled in is `…`."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub("…+", "…", text)
    return "…"


def permissions() -> str:
    """Every right, why it is needed and what is missing without it."""
    return "\n".join(
        (
            "# Permissions\n",
            "`howdah rbac` prints the roles that are made of these rows, the chart and the kustomize base install them. The "
            "operator is tested with exactly these rights, and with each of them taken away: a refused call is named in a "
            "condition of the cluster (or where this page says), nothing else breaks, and once the right is there the work "
            "goes on by itself.\n",
            "```sh\nhowdah rbac --namespace postgres-operator                         # the whole cluster\n"
            "howdah rbac --namespace team-a --watch team-a                     # one namespace\n"
            "howdah rbac --namespace operators --watch team-a --watch team-b   # a list of namespaces\n```\n",
            "## The operator\n",
            "`watched`: in each namespace that has clusters. `own`: in the operator's namespace. `cluster`: objects without a "
            "namespace; not given to an operator that watches single namespaces. `lease`: `howdah`, or `howdah-ID` for an "
            "operator with a `CONTROLLER_ID` (`--controller-id`), so that operators of several ids lead beside each other.\n",
            table(("where", "resource", "verbs", "names", "for", "without it"), _grants(GRANTS)) + "\n",
            "## The pods\n",
            "A cluster role that the operator binds to the pods' account in each namespace "
            "(`pod_service_account_name`). The operator itself does not hold these rights: it may `bind` that one role. Where "
            "a `pod_service_account_role_binding_definition` gives the binding another name or the pods another role, "
            "the chart takes both from it, and so does `howdah rbac --role-binding FILE`.\n",
            table(("where", "resource", "verbs", "names", "for", "without it"), _grants(POD_GRANTS)) + "\n",
        )
    )


def _grants(grants: Iterable[Grant]) -> Iterator[tuple[str, ...]]:
    for grant in grants:
        plural = "clusterroles" if grant.resource == POD_ROLES else grant.resource
        resource = f"{plural}.{grant.group}" if grant.group else plural
        named = ", ".join(code(name.strip("{}").replace("_", " ")) for name in grant.names)
        yield code(grant.place), code(resource), ", ".join(grant.verbs), named, grant.why, grant.without


PAGES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "manifest": manifest,
    "cli": cli,
    "metrics": metrics,
    "conditions": conditions,
    "crds": crds,
    "permissions": permissions,
}


def rendered() -> dict[Path, str]:
    """Every page by its path, and the README with its part that is made here."""
    pages = {PLACE / f"{name}.md": NOTICE + "\n" + page().rstrip("\n") + "\n" for name, page in PAGES.items()}
    return {**pages, README: spliced(README.read_text(), states())}


def outdated(pages: Mapping[Path, str]) -> list[Path]:
    """Pages that are missing or say something else than the code."""
    return [path for path, text in pages.items() if not path.is_file() or path.read_text() != text]


def main() -> None:
    """Write, or check."""
    pages = rendered()
    if "--check" in sys.argv[1:]:
        old = [str(path.relative_to(ROOT)) for path in outdated(pages)]
        if old:
            sys.exit(f"out of date: {', '.join(old)}; run `make docs` and read the difference")
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
