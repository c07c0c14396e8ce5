"""What decisions and status share of a situation."""

from __future__ import annotations

from howdah.core.far_secrets import secret_problem
from howdah.core.nodes import leader_move
from howdah.core.pooling import pooler_views
from howdah.core.situation import Situation
from howdah.core.status import Findings
from howdah.core.streams import stream_problem
from howdah.core.volumes import volume_problem


def findings_of(situation: Situation) -> Findings:
    """What the status says of it."""
    cluster, database = situation.cluster, situation.database
    head = situation.leader_view
    return Findings(
        generation=cluster.generation,
        instances=cluster.instances,
        is_standby=situation.is_standby,
        asks_standby=cluster.is_standby,
        stands_alone=situation.config.stands_alone,
        follows_unasked=situation.is_standby and not cluster.is_standby and not cluster.follows_by_variable,
        is_initialized=situation.config.is_initialized,
        views=situation.views,
        leader=head.name if head is not None else None,
        accepts_writes=situation.accepts_writes,
        leads=situation.leads,
        version=_version_text(database.server_version),
        without_password=database.without_password,
        credentials_in_sync=not database.edited if database.is_known and not database.is_due else None,
        database_error=database.error,
        failed_statements=tuple(f for f in database.failures if database.is_due or f[0] in database.at_work),
        database_problem="; ".join(database.problems) or None,
        is_standby_refused=_is_standby_refused(situation),
        stream_problem=stream_problem(situation),
        volume_problem=volume_problem(situation),
        secret_problem=secret_problem(situation),
        awaits_databases=situation.awaits_databases,
        asked_version=cluster.asked_version,
        version_held=cluster.rollout.version_held,
        may_upgrade=cluster.rollout.may_upgrade,
        poolers=pooler_views(situation),
        leader_move=leader_move(situation),
    )


def _is_standby_refused(situation: Situation) -> bool:
    """Whether the manifest calls a cluster a standby that is none, as one that was made a primary or promoted by hand."""
    config = situation.config
    is_none = config.dynamic is not None and not config.is_standby
    return situation.cluster.is_standby and is_none and situation.accepts_writes


def _version_text(server_version: int) -> str | None:
    """180004 → 18.4 (since PostgreSQL 10)."""
    return f"{server_version // 10000}.{server_version % 10000}" if server_version else None
