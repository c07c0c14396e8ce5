"""The `howdah` command, also `kubectl pg`. Each command's work is imported only when it is called, so that help is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from howdah.cli.exits import Exit, Failed
from howdah.cli.options import Connection
from howdah.cli.psql_words import UpToPsql

app = typer.Typer(
    name="howdah",
    help="Highly available PostgreSQL on Kubernetes, or on this machine without it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
local = typer.Typer(help="A platform on this machine: a Kubernetes API, with pods as processes.", no_args_is_help=True)
app.add_typer(local, name="local")

Context = Annotated[str | None, typer.Option(help="context of the kubeconfig")]
Kubeconfig = Annotated[Path | None, typer.Option(help="path of the kubeconfig (default: $KUBECONFIG, ~/.kube/config)")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="namespace (default: the context's)")]
Output = Annotated[str, typer.Option("--output", "-o", help="text, json or yaml")]
Documents = Annotated[str, typer.Option("--output", "-o", help="yaml or json")]
Directory = Annotated[Path | None, typer.Option("--dir", help="folder of the platform")]
PlatformName = Annotated[str, typer.Option("--name", help="one of several platforms, where no --dir is given")]
Name = Annotated[str, typer.Argument(help="name of the postgresql resource")]
Files = Annotated[list[Path], typer.Argument(help="manifests; - for standard input")]


@app.command()
def operator(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    observe_only: Annotated[bool, typer.Option("--observe-only", help="decide and report, write nothing")] = False,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT of /healthz, /readyz, /metrics; :PORT is every address")
    ] = None,
) -> None:
    """Run the operator (in the foreground)."""
    from howdah.cli.operator import run_operator

    run_operator(Connection(kubeconfig, context, None), observe_only=observe_only, listen=listen)


@app.command()
def crds(
    output: Documents = "yaml",
    apply: Annotated[bool, typer.Option("--apply", help="bring those of the cluster up to date instead")] = False,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="category of postgresqls, may be repeated (none: all)")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print the custom resource definitions."""
    from howdah.cli.render import apply_crds, print_crds

    if apply:
        apply_crds(Connection(kubeconfig, context, None), category or ["all"])
    else:
        print_crds(output, category or ["all"])


@app.command()
def rbac(
    name: Annotated[str, typer.Option(help="service account of the operator; the roles are named like it")] = "howdah",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="namespace of the operator")] = "howdah",
    watch: Annotated[
        list[str] | None,
        typer.Option("--watch", help="namespace with clusters, may be repeated (none: every namespace)"),
    ] = None,
    pod_account: Annotated[
        str, typer.Option(help="service account of the pods, and name of its role")
    ] = "postgres-pod",
    role_binding: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="file with the option pod_service_account_role_binding_definition, where that is set",
        ),
    ] = None,
    controller_id: Annotated[str, typer.Option(help="CONTROLLER_ID of the operator: its Lease is named after it")] = "",
    nodes: Annotated[
        bool, typer.Option("--nodes", help="with --watch: see nodes, too, so that leaders leave cordoned ones")
    ] = False,
    output: Documents = "yaml",
) -> None:
    """Print the roles and bindings that the operator and the pods need, and no more."""
    from howdah.cli.permissions import print_roles
    from howdah.core.permissions import Installation

    installation = Installation(
        name,
        namespace,
        pod_account=pod_account,
        role_binding=role_binding.read_text() if role_binding is not None else "",
        controller_id=controller_id,
        sees_nodes=nodes,
    )
    print_roles(installation, watch or [], output)


@app.command()
def render(files: Files, namespace: Namespace = None, output: Documents = "yaml") -> None:
    """Print the objects that a manifest would become; no cluster is needed.

    Further documents may give the operator's configuration and objects that the manifest refers to.
    """
    from howdah.cli.render import print_objects

    print_objects(files, namespace, output)


@app.command()
def plan(
    what: Annotated[list[str] | None, typer.Argument(help="manifest files, or names of resources (none: all)")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    output: Output = "text",
    teams_api: Annotated[bool, typer.Option(help="ask the teams API who is a member, where the operator does")] = True,
) -> None:
    """Say what the operator would do, and why, without doing it. Exit code 2: the manifest is not valid."""
    from howdah.cli.plan import print_plans

    print_plans(Connection(kubeconfig, context, namespace), what or [], output, asks_teams=teams_api)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="name of the resource (none: all)")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="go on showing it")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    output: Output = "text",
) -> None:
    """Show clusters: leader, members, conditions."""
    from howdah.cli.status import print_status

    print_status(Connection(kubeconfig, context, namespace), name, output, watch=watch)


@app.command()
def explain(
    name: Name,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    output: Output = "text",
) -> None:
    """Say why a cluster is not ready, what it waits for, and when the operator looks again."""
    from howdah.cli.explain import print_explanation

    print_explanation(Connection(kubeconfig, context, namespace), name, output)


@app.command()
def orphans(
    kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None, output: Output = "text"
) -> None:
    """List objects of clusters whose resource is gone. They are never removed by the operator."""
    from howdah.cli.orphans import print_orphans

    print_orphans(Connection(kubeconfig, context, namespace), output)


User = Annotated[str | None, typer.Option("--user", "-U", help="role (default: the superuser)")]
Database = Annotated[str, typer.Option("--dbname", "-d", help="database")]


@app.command()
def url(
    name: Name,
    user: User = None,
    database: Database = "postgres",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Print a postgresql:// URL of the leader, with the role's password."""
    from howdah.cli.connect import print_url

    print_url(Connection(kubeconfig, context, namespace), name, user, database)


@app.command(cls=UpToPsql, context_settings={"allow_extra_args": True})
def psql(
    context_: typer.Context,
    name: Name,
    user: User = None,
    database: Database = "postgres",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Open psql on the leader: howdah psql NAME [OPTIONS] [what goes to psql].

    The first word after the name that is none of the options below, and all after it, go to psql as they are: in
    `howdah psql NAME -n team -X -n` the second -n is psql's. After -- everything is psql's.
    """
    from howdah.cli.connect import run_psql

    run_psql(Connection(kubeconfig, context, namespace), name, user, database, context_.args)


@app.command()
def switchover(
    name: Name,
    to: Annotated[str | None, typer.Option(help="member that shall lead (default: the best candidate)")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Hand the leader's role to another member, planned, and wait until it leads."""
    from howdah.cli.switchover import switch_over

    switch_over(Connection(kubeconfig, context, namespace), name, to)


@local.command("up")
def local_up(
    manifests: Annotated[list[Path] | None, typer.Argument(help="manifests to apply")] = None,
    directory: Directory = None,
    name: PlatformName = "local",
    operators: Annotated[int, typer.Option(help="replicas of the operator")] = 1,
    wait_s: Annotated[float, typer.Option("--wait", help="seconds to wait for the clusters")] = 120.0,
) -> None:
    """Start the platform and the operator, apply manifests, and wait until their clusters run."""
    from howdah.cli.local import Place, up

    up(manifests or [], Place(directory, name), operators=operators, wait_s=wait_s)


@local.command("down")
def local_down(
    directory: Directory = None,
    name: PlatformName = "local",
    remove: Annotated[
        bool, typer.Option("--remove", help="also remove all data; what else is in the folder stays")
    ] = False,
) -> None:
    """Stop everything that the platform runs."""
    from howdah.cli.local import Place, down

    down(Place(directory, name), remove=remove)


@local.command("status")
def local_status(directory: Directory = None, name: PlatformName = "local", output: Output = "text") -> None:
    """Show the platform's processes."""
    from howdah.cli.local import Place, print_local_status

    print_local_status(Place(directory, name), output)


@local.command("logs")
def local_logs(
    process: Annotated[str, typer.Argument(help="process of the platform, such as operator-0")] = "operator-0",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as the log grows")] = False,
    directory: Directory = None,
    name: PlatformName = "local",
) -> None:
    """Print the log of a process of the platform."""
    from howdah.cli.local import Place, print_logs

    print_logs(Place(directory, name), process, follow=follow)


@app.command()
def version() -> None:
    """Print the version."""
    from howdah import __version__

    typer.echo(f"howdah {__version__}")


def run() -> None:
    """The console entry point: a failure that we know is one line and its exit code."""
    try:
        app()
    except Failed as failed:
        typer.echo(f"howdah: {failed}", err=True)
        sys.exit(failed.code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Who read it has what they wanted. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    run()
