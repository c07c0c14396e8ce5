"""What a manifest and the operator's options say of roles and databases beside the reference's sections."""

from collections.abc import Mapping

from howdah.model.postgres.desired import DatabaseOptions, UserOptions
from howdah.model.postgres.rotation import RotationRules
from howdah.model.settings import Settings
from howdah.model.spec import Spec

SHORTEST_DAYS, LONGEST_DAYS = 1, 36_500
"""An interval of 0 would make every pass a rotation; a time past the calendar cannot be written down."""
STREAMER = "fes_user"
"""The role of streams, as the reference names it."""


def user_options(spec: Spec) -> Mapping[str, UserOptions]:
    """`spec.userOptions` by role."""
    return {
        name: UserOptions(
            member_of=options.member_of or (),
            connection_limit=options.connection_limit,
            valid_until=options.valid_until,
            parameters=options.parameters or {},
            database_parameters=options.database_parameters or {},
            removal=options.removal or "retain",
            reassign_to=options.reassign_to,
        )
        for name, options in (spec.user_options or {}).items()
    }


def database_options(spec: Spec) -> Mapping[str, DatabaseOptions]:
    """`spec.databaseOptions` by database."""
    return {
        name: DatabaseOptions(options.encoding, options.locale, options.template, options.connection_limit)
        for name, options in (spec.database_options or {}).items()
    }


def rotation_rules(spec: Spec, settings: Settings) -> RotationRules:
    """Intervals and lists; the retention is at least two intervals, as in the reference."""
    interval = min(max(settings.password_rotation_interval, SHORTEST_DAYS), LONGEST_DAYS)
    pooler = (settings.connection_pooler_user, spec.connection_pooler.user if spec.connection_pooler else None)
    system = (settings.super_username, settings.replication_username, STREAMER, *pooler)
    return RotationRules(
        interval_days=interval,
        retention_days=max(min(settings.password_rotation_user_retention, LONGEST_DAYS), 2 * interval),
        is_default=settings.enable_password_rotation,
        new_user=frozenset(spec.users_with_secret_rotation or ()),
        in_place=frozenset(spec.users_with_in_place_secret_rotation or ()),
        ignored=frozenset(spec.users_ignoring_secret_rotation or ()),
        fixed=frozenset(name for name in system if name),
    )
