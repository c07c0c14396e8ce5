"""Members of teams become roles: the owning team of a cluster, additional teams, and teams of superusers.

The teams API is not asked here: `teams_asked` says for which teams it is to be, `people` takes what it said.
"""

from collections.abc import Iterator

from howdah.core.postgres.identifiers import MAX_NAME_BYTES, parameter_name_fault
from howdah.core.postgres.infrastructure import unquoted
from howdah.model.errors import Problem
from howdah.model.postgres.desired import DesiredRole, Flags, RoleRules
from howdah.model.postgres.people import Membership
from howdah.model.settings import Settings
from howdah.model.teams import Teams

PATH = "spec.teamId"


def teams_asked(settings: Settings, teams: Teams, team: str) -> tuple[str, ...]:
    """The teams whose members have roles in the clusters of `team`, in the order in which they are gone through."""
    return tuple(name for name, _ in _ranked(settings, teams, team))


def people(
    settings: Settings, membership: Membership, team: str, rules: RoleRules
) -> tuple[tuple[DesiredRole, ...], tuple[Problem, ...]]:
    """The roles of everybody who is known to be a member, and what is left out, and why.

    Who is in a team of superusers and in one of the others is none in this cluster: the later team counts, as in the
    reference.
    """
    roles: dict[str, DesiredRole] = {}
    warnings = [Problem(PATH, problem, "who is known stays") for problem in membership.problems]
    parameters = _parameters(settings, warnings)
    for name, is_superuser in _ranked(settings, membership.teams, team):
        if name in membership.unknown_teams:
            warnings.append(Problem(PATH, f'the teams API knows no team "{name}"', "it has no members from there"))
        for person in _members(settings, membership, name):
            if (why := _fault(person, rules)) is not None:
                warnings.append(Problem(PATH, f'"{person}" of team "{name}" is {why}', "this member gets no role"))
                continue
            role = as_kept(person)
            groups = (settings.pam_role_name, "" if is_superuser else settings.team_admin_role)
            roles[role] = DesiredRole(
                role,
                Flags(login=True, superuser=True if is_superuser else None),
                member_of=tuple(group for group in groups if group),
                parameters=parameters,
                is_person=True,
            )
    return tuple(roles.values()), tuple(warnings)


def _ranked(settings: Settings, teams: Teams, team: str) -> Iterator[tuple[str, bool]]:
    """Teams, and whether their members are superusers; later ones win."""
    heeds = settings.enable_postgres_team_crd
    additional = teams.superuser_teams_of(team) if heeds and settings.enable_postgres_team_crd_superusers else ()
    superusers = dict.fromkeys((*additional, *settings.postgres_superuser_teams))
    for name in superusers:
        yield name, True
    for name in teams.teams_of(team) if heeds else ():
        if name not in superusers:
            yield name, False
    if team and team not in superusers:
        yield team, settings.enable_team_superuser


def _members(settings: Settings, membership: Membership, team: str) -> tuple[str, ...]:
    added = membership.teams.members_of(team) if settings.enable_postgres_team_crd else ()
    said = membership.members.get(team, ()) if settings.enable_teams_api else ()
    return tuple(dict.fromkeys((*added, *said)))


def as_kept(name: str) -> str:
    """A person's name as the server keeps it: cut to 63 bytes, between two characters."""
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def _fault(person: str, rules: RoleRules) -> str | None:
    """Names of people are not held to the pattern of manifest users: they are quoted, and what they are elsewhere counts."""
    if not person or "\0" in person:
        return "no name"
    if person in ("public", "none") or person.startswith("pg_"):
        return "reserved by PostgreSQL"
    return rules.untouchable(person)


def _parameters(settings: Settings, warnings: list[Problem]) -> dict[str, str]:
    path = "configuration.teams_api.team_api_role_configuration"
    usable: dict[str, str] = {}
    for name, value in settings.team_api_role_configuration.items():
        if (fault := parameter_name_fault(name)) is None:
            usable[name] = unquoted(value)
        else:
            warnings.append(Problem.of(path, ValueError(fault)))
    return usable
