"""People who leave a team lose their login and keep what they own; who comes back gets the role back."""

import pytest

from adapters.postgres.passes import RULES, missing, one_pass, passwords, settle
from adapters.postgres.servers import Server
from howdah.core.postgres.manifest import desired_state
from howdah.model.postgres.catalogue import TEAM_MEMBER
from howdah.model.postgres.desired import Departures, Desired, DesiredRole, Elsewhere, Flags

ON = Departures("_deleted", is_complete=True)


def team(*people: str, departures: Departures | None = ON, users: tuple[str, ...] = ()) -> Desired:
    roles = tuple(
        DesiredRole(name, Flags(login=True), ("zalandos",), parameters={"log_statement": "all"}, is_person=True)
        for name in people
    )
    users_asked = dict.fromkeys(users, ())
    return desired_state(users_asked, {}, None, rules=RULES, elsewhere=Elsewhere(people=roles, departures=departures))


def logins(server: Server) -> dict[str, bool]:
    rows = server.sql(
        "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' AND rolname NOT IN "
        "('postgres', 'standby', 'admin', 'cron_admin', 'robot_zmon', 'zalandos')"
    )
    return dict(rows)


def comment(server: Server, role: str) -> str | None:
    found: str | None = server.sql(f"SELECT shobj_description('\"{role}\"'::regrole, 'pg_authid')")[0][0]
    return found


async def test_who_left_has_no_login_another_name_and_all_that_was_his(server: Server) -> None:
    await settle(server, team("anna", "bert"))
    server.sql("CREATE TABLE of_bert (); ALTER TABLE of_bert OWNER TO bert")
    await settle(server, team("anna"))
    assert logins(server) == {"anna": True, "bert_deleted": False}
    assert server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'of_bert'") == [("bert_deleted",)]
    assert server.sql("SELECT pg_has_role('bert_deleted', 'zalandos', 'member')") == [(True,)]
    server.sql("DROP TABLE of_bert")


async def test_who_comes_back_gets_the_role_back(server: Server) -> None:
    await settle(server, team("anna", "bert"))
    oid = server.sql("SELECT 'bert'::regrole::oid")
    await settle(server, team("anna"))
    await settle(server, team("anna", "bert"))
    assert logins(server) == {"anna": True, "bert": True}
    assert server.sql("SELECT 'bert'::regrole::oid") == oid


async def test_a_role_that_the_reference_put_away_comes_back_too(server: Server) -> None:
    server.sql("CREATE ROLE anna_deleted NOLOGIN IN ROLE zalandos")
    await settle(server, team("anna"))
    assert logins(server) == {"anna": True}


@pytest.mark.parametrize("off", [None, Departures("_deleted", is_complete=False)])
async def test_nobody_is_dropped_where_that_is_not_asked_or_not_all_is_known(
    server: Server, off: Departures | None
) -> None:
    await settle(server, team("anna", "bert"))
    await settle(server, team(departures=off))
    assert logins(server) == {"anna": True, "bert": True}


async def test_a_role_that_people_made_is_never_taken_for_a_member_who_left(server: Server) -> None:
    server.sql("CREATE ROLE own LOGIN IN ROLE zalandos; COMMENT ON ROLE own IS 'ours'")
    await settle(server, team("anna"))
    assert logins(server) == {"anna": True, "own": True}


async def test_a_comment_of_people_stays(server: Server) -> None:
    server.sql("CREATE ROLE anna; COMMENT ON ROLE anna IS 'Anna, second floor'")
    await settle(server, team("anna"))
    assert comment(server, "anna") == f"Anna, second floor {TEAM_MEMBER}"
    await settle(server, team(users=("anna",)))
    assert comment(server, "anna") == "Anna, second floor"


async def test_who_left_the_team_and_is_a_user_of_the_manifest_stays(server: Server) -> None:
    await settle(server, team("anna"))
    await settle(server, team(users=("anna",)))
    assert logins(server) == {"anna": True}
    await settle(server, team())
    assert logins(server) == {"anna": True}  # as every user that the manifest asks for no more


async def test_a_name_that_is_taken_costs_the_login_only(server: Server) -> None:
    server.sql("CREATE ROLE anna_deleted NOLOGIN")
    await settle(server, team("anna", departures=None))
    server.sql(f"COMMENT ON ROLE anna IS '{TEAM_MEMBER}'")
    await settle(server, team())
    assert logins(server) == {"anna": False, "anna_deleted": False}


async def test_a_login_that_somebody_gave_back_is_taken_again_and_the_name_stays(server: Server) -> None:
    await settle(server, team("anna"))
    await settle(server, team())
    server.sql("ALTER ROLE anna_deleted LOGIN")
    await settle(server, team())
    assert logins(server) == {"anna_deleted": False}


async def test_a_login_that_nobody_took_away_is_no_departure(server: Server) -> None:
    server.sql("CREATE ROLE anna_deleted LOGIN")
    await settle(server, team("anna"))
    assert logins(server) == {"anna": True, "anna_deleted": True}


@pytest.mark.parametrize("name", ["n" * 63, "ü" * 31, "n" * 60, 'Ümlaut "quoted"; DROP', "a.b"])
async def test_names_of_any_length_and_kind_leave_and_come_back(server: Server, name: str) -> None:
    await settle(server, team(name))
    await settle(server, team())
    assert list(logins(server).values()) == [False]
    await settle(server, team(name))
    assert logins(server) == {name: True}


async def test_a_pass_in_which_nobody_left_sends_nothing(server: Server) -> None:
    people = tuple(f"person{n}" for n in range(200))
    await settle(server, team(*people))
    await one_pass(server, team(*people[:190]))
    desired = team(*people[:190])
    assert await missing(server, desired, passwords(desired)) == ()
