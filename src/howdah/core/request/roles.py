"""Roles from beside the manifest: which objects they are read from, and what becomes of what is in them."""

from collections.abc import Iterator, Mapping

from howdah.core.postgres.infrastructure import entries, infrastructure_roles
from howdah.core.postgres.teams import PATH, people, teams_asked
from howdah.core.request.asked import Asked, Reference
from howdah.model.errors import Problem
from howdah.model.postgres.desired import Departures, Elsewhere, RoleRules
from howdah.model.postgres.people import Membership
from howdah.model.settings import InfrastructureRoleSecret, NamespacedName, Settings
from howdah.model.teams import Teams


def role_references(settings: Settings) -> tuple[Reference, ...]:
    """The Secrets of infrastructure roles, each with the ConfigMap of its name; neither need be there."""
    places = dict.fromkeys(entry.secret for entry in entries(settings))
    return tuple(reference for place in places for reference in (_secret(place), _options(place)))


def entries_of(settings: Settings, reference: Reference) -> tuple[InfrastructureRoleSecret, ...]:
    """The entries of the configuration that are about this Secret."""
    return tuple(entry for entry in entries(settings) if _secret(entry.secret) == reference)


def token_reference(settings: Settings) -> Reference | None:
    """The Secret with the teams API's token, where that API is to be asked."""
    name = settings.oauth_token_secret_name
    return _secret(name) if settings.enable_teams_api and heeds_teams(settings) and name is not None else None


def api_teams(settings: Settings, teams: Teams, team: str) -> tuple[str, ...]:
    """The teams that the teams API is to be asked for, for a cluster of `team`."""
    return teams_asked(settings, teams, team) if settings.enable_teams_api else ()


def heeds_teams(settings: Settings) -> bool:
    """Whether members of teams become roles at all."""
    return settings.enable_database_access and (settings.enable_teams_api or settings.enable_postgres_team_crd)


def _secret(place: NamespacedName) -> Reference:
    return Reference("Secret", place.name, (place.namespace,))


def _options(place: NamespacedName) -> Reference:
    return Reference("ConfigMap", place.name, (place.namespace,))


def roles_elsewhere(asked: Asked, rules: RoleRules) -> tuple[Elsewhere, tuple[Problem, ...]]:
    """The roles, and what is left out."""
    settings, references = asked.settings, asked.references
    places = tuple(dict.fromkeys(entry.secret for entry in entries(settings)))
    secrets = {place: seen for place in places if (seen := references.role_secrets.get(_secret(place))) is not None}
    options: Mapping[NamespacedName, Mapping[str, str]] = {
        place: references.config_maps.get(_options(place)) or {} for place in places
    }
    infrastructure, doubts = infrastructure_roles(settings, secrets, options, rules)
    if asked.is_standby or not heeds_teams(settings):
        return Elsewhere(infrastructure), doubts
    members, odd = people(settings, references.membership, asked.spec.team_id, rules)
    departures = _departures(asked)
    held = () if departures is None else tuple(_held(references.membership))
    return Elsewhere(infrastructure, members, departures), (*doubts, *odd, *held)


def _departures(asked: Asked) -> Departures | None:
    """Who left cannot be told where a team is not known: an API that answers 404 to everything drops nobody."""
    if not asked.settings.enable_team_member_deprecation or not asked.settings.role_deletion_suffix:
        return None
    membership = asked.references.membership
    is_complete = membership.is_complete and not membership.doubtful_teams
    return Departures(asked.settings.role_deletion_suffix, is_complete)


def _held(membership: Membership) -> Iterator[Problem]:
    """Why nobody is taken for gone; what is not known for another reason is among the problems of `people`."""
    for team in sorted(membership.doubtful_teams):
        message = f'nobody is taken for gone, for team "{team}" may have members that the teams API does not tell'
        if team in membership.teams.people:
            hint = "it is believed when it knows other teams, and has not known this one, for some minutes"
        else:
            hint = "a team that only a PostgresTeam knows needs an entry in additionalMembers, which may be empty"
        yield Problem(PATH, message, hint)
