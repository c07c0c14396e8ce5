"""What is missing, in order, and nothing when nothing is; real servers are in the adapter's tests."""

from dataclasses import replace
from typing import Any

from howdah.core.postgres.difference import difference, interest, unmet, unreadable, without_roles
from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.publications import publications_in_place
from howdah.core.postgres.removal import why_kept
from howdah.model.postgres.catalogue import (
    EMPTY,
    Catalogue,
    Contents,
    Database,
    Extension,
    Role,
    Schema,
    Ties,
    Verifier,
)
from howdah.model.postgres.desired import (
    DatabaseOptions,
    Desired,
    DesiredDatabase,
    DesiredExtension,
    DesiredPublication,
    DesiredRole,
    DesiredSchema,
    Flags,
    PasswordSource,
    Removal,
    RoleRules,
)
from howdah.model.postgres.statements import Kind, by_database

NOTHING = Catalogue({}, {}, {})
SOURCE = PasswordSource("app", "ns")


def live_role(name: str, **given: Any) -> Role:
    flags = Flags(
        superuser=False,
        createdb=False,
        createrole=False,
        inherit=True,
        login=True,
        replication=False,
        bypassrls=False,
    )
    return replace(Role(name, flags, {}, {}), **given)


def catalogue(*roles: Role, **contents: Contents) -> Catalogue:
    databases = {name: Database(name, "app") for name in contents}
    return Catalogue({role.name: role for role in roles}, databases, contents)


def texts(desired: Desired, live: Catalogue, *matching: str) -> list[str]:
    found = difference(desired, live, matching=frozenset(matching))
    return [statement.sql.as_string(None) for statement in found]


def test_everything_is_made_in_an_order_that_works() -> None:
    desired = desired_state(
        {"app": []},
        {"foo": "app"},
        {"bar": {"extensions": {"vector": "data"}}},
        rules=RoleRules("c", "ns", admin_role="admin"),
    )
    kinds = [statement.kind for statement in difference(desired, NOTHING, matching=frozenset())]
    order = list(Kind)
    first = order.index(Kind.CREATE_DATABASE)
    roles, rest = [k for k in kinds if order.index(k) < first], [k for k in kinds if order.index(k) >= first]
    assert kinds == roles + rest
    assert roles == sorted(roles, key=order.index)
    assert [k for k in rest if k is not Kind.DEFAULT_PRIVILEGES] == [
        Kind.CREATE_DATABASE,
        Kind.CREATE_DATABASE,
        Kind.CREATE_SCHEMA,
        Kind.SCHEMA_USAGE,
        Kind.CREATE_EXTENSION,
    ]


def test_a_database_that_needs_nothing_more_is_made_first() -> None:
    desired = desired_state({"app": []}, {"foo": "app"}, {"bar": {}}, rules=RoleRules("c", "ns", admin_role="admin"))
    made = [text for text in texts(desired, NOTHING) if text.startswith("CREATE DATABASE")]
    assert made == ['CREATE DATABASE "foo" OWNER "app"', 'CREATE DATABASE "bar" OWNER "bar_owner"']


def test_what_concerns_one_database_is_one_group_that_begins_with_its_creation() -> None:
    desired = desired_state(
        {"app": []},
        {"foo": "app"},
        {"bar": {"extensions": {"vector": "data"}}, "old": {}},
        rules=RoleRules("c", "ns", admin_role="admin"),
    )
    app = replace(desired.roles[-1], database_parameters={"foo": {"work_mem": "1MB"}})
    desired = replace(desired, roles=(*desired.roles[:-1], app))
    live = Catalogue({}, {"old": Database("old", "nobody")}, {"old": EMPTY})
    groups = by_database(difference(desired, live, matching=frozenset()))
    kinds = {name: [statement.kind for statement in group] for name, group in groups}
    assert list(kinds) == ["postgres", "foo", "bar", "old"]
    assert kinds["foo"] == [Kind.CREATE_DATABASE, Kind.PARAMETER]
    assert kinds["bar"][0] is Kind.CREATE_DATABASE
    assert Kind.CREATE_EXTENSION in kinds["bar"]
    assert not {Kind.CREATE_DATABASE, Kind.DATABASE_OWNER} & set(kinds["postgres"])
    assert sum(len(group) for _, group in groups) == len(difference(desired, live, matching=frozenset()))


def test_a_half_dropped_database_is_left_alone_and_told() -> None:
    desired = Desired((), (DesiredDatabase("shop", "app", options=DatabaseOptions(connection_limit=5)),))
    live = Catalogue({}, {"shop": Database("shop", "other", connection_limit=-2)}, {})
    assert difference(desired, live, matching=frozenset()) == ()
    assert unreadable(desired, live) == ('database "shop" was half dropped and is of no use to anybody: drop it',)


def test_a_publication_in_a_database_that_cannot_be_looked_into_is_not_away() -> None:
    leaving = Desired(publications=(DesiredPublication("fes", "shop", ()),))
    there = {"shop": Database("shop", "app")}
    assert publications_in_place(leaving, Catalogue({}, there, {}, unread={"shop": "no"})) == frozenset()
    assert publications_in_place(leaving, Catalogue({}, {}, {})) == {("shop", "fes")}


def test_a_role_that_owns_something_where_nobody_can_look_is_not_handed_over() -> None:
    live = replace(live_role("old"), comment="note", ties=Ties(objects={"shop": 1}))
    seen = Catalogue({"old": live, "heir": live_role("heir")}, {"shop": Database("shop", "app")}, {})
    refused = replace(seen, unread={"shop": "no"})
    removal = Removal("old", "note", "heir")
    assert why_kept(removal, live, seen) is None
    assert why_kept(removal, live, refused) == "database shop takes no connections"


def test_names_and_values_are_quoted() -> None:
    role = DesiredRole('a"b', member_of=("UPPER",), parameters={"search_path": ("$user", "it's")})
    desired = Desired((role, DesiredRole("UPPER")), (DesiredDatabase('d"b', 'a"b'),))
    assert texts(desired, NOTHING) == [
        'CREATE ROLE "a""b"',
        'CREATE ROLE "UPPER"',
        "ALTER ROLE \"a\"\"b\" SET \"search_path\" TO '$user', 'it''s'",
        'GRANT "UPPER" TO "a""b"',
        'CREATE DATABASE "d""b" OWNER "a""b"',
    ]


def test_only_flags_that_are_spoken_of_and_differ_are_altered() -> None:
    desired = Desired((DesiredRole("app", Flags(login=False, createdb=True, inherit=True)),))
    assert texts(desired, catalogue(live_role("app"))) == ['ALTER ROLE "app" CREATEDB NOLOGIN']


def test_a_prepared_role_is_made_without_login_and_takes_it_from_nobody_who_has_it() -> None:
    desired = desired_state({}, {}, {"foo": {}}, rules=RoleRules("c", "ns"))
    assert 'CREATE ROLE "foo_owner" NOLOGIN' in texts(desired, NOTHING)
    there = catalogue(live_role("foo_owner"))
    assert [
        text for text in texts(desired, there) if text.startswith('ALTER ROLE "foo_owner" ') if "LOGIN" in text
    ] == []
    said = [sentence for sentence in unmet(desired, there) if '"foo_owner" was there before' in sentence]
    assert len(said) == 1
    off = live_role("foo_owner")
    asleep = catalogue(replace(off, flags=replace(off.flags, login=False)))
    assert not [sentence for sentence in unmet(desired, asleep) if "logs in" in sentence]


def test_a_password_is_set_unless_it_matches_and_is_never_in_the_statement() -> None:
    desired = Desired((DesiredRole("app", Flags(login=True), password=SOURCE),))
    live = catalogue(live_role("app", verifier=Verifier("md5x")))
    (statement,) = difference(desired, live, matching=frozenset())
    assert statement.sql.as_string(None) == 'ALTER ROLE "app"'
    assert statement.password is not None
    assert statement.password.source == SOURCE
    assert texts(desired, live, "app") == []


def test_a_role_that_shall_not_log_in_has_its_password_left_alone() -> None:
    desired = Desired((DesiredRole("app", Flags(login=False), password=SOURCE),))
    assert [s.password for s in difference(desired, NOTHING, matching=frozenset())] == [None]


def test_a_search_path_in_another_order_is_left_alone() -> None:
    desired = Desired((DesiredRole("app", parameters={"search_path": ("$user", "a", "b")}),))
    assert texts(desired, catalogue(live_role("app", settings={"search_path": '"$user", b, a'}))) == []
    assert len(texts(desired, catalogue(live_role("app", settings={"search_path": '"$user", b'})))) == 1


def test_a_setting_that_is_written_as_text_keeps_its_order() -> None:
    desired = Desired((DesiredRole("app", parameters={"search_path": "a, b"}),))
    assert len(texts(desired, catalogue(live_role("app", settings={"search_path": "b, a"})))) == 1


def test_memberships_are_added_and_only_the_opposite_one_is_taken_away() -> None:
    desired = Desired((DesiredRole("app", member_of=("boss",)),))
    live = catalogue(live_role("app"), live_role("boss", member_of={"app": True, "other": False}))
    assert texts(desired, live) == ['REVOKE "app" FROM "boss"', 'GRANT "boss" TO "app"']


def test_what_waits_for_a_role_that_is_not_there_is_told() -> None:
    desired = Desired((DesiredRole("app", member_of=("ghost",)),))
    assert texts(desired, catalogue(live_role("app"))) == []
    assert unmet(desired, catalogue(live_role("app"))) == (
        'role "ghost" does not exist, so "app" has no membership with it',
    )


def test_a_database_that_was_not_read_is_not_touched_inside() -> None:
    desired = Desired(databases=(DesiredDatabase("db", "app", schemas=(DesiredSchema("data", "app"),)),))
    unread = replace(NOTHING, databases={"db": Database("db", "app", allows_connections=False)})
    assert texts(desired, unread) == []


def test_an_extension_that_cannot_be_moved_is_told_instead() -> None:
    wanted = DesiredDatabase("db", "app", extensions=(DesiredExtension("fixed", "data"),))
    desired = Desired(databases=(wanted,))
    schemas = {"data": Schema("data", "app", frozenset())}
    live = catalogue(db=Contents(schemas, {"fixed": Extension("fixed", "public", relocatable=False)}, {}))
    assert texts(desired, live) == []
    assert "cannot be moved" in unmet(desired, live)[0]


def test_only_databases_with_something_inside_are_read() -> None:
    desired = desired_state({"app": []}, {"foo": "app"}, {"bar": {}}, rules=RoleRules("c", "ns", admin_role="boss"))
    found = interest(desired)
    assert found.databases == {"bar"}
    assert {"app", "boss", "admin", "bar_owner", "postgres"} <= found.roles


def test_a_verifier_is_never_shown() -> None:
    assert "secret" not in repr(live_role("app", verifier=Verifier("secret")))


def test_while_a_role_cannot_be_made_its_databases_and_memberships_wait_and_nothing_else() -> None:
    rules = RoleRules("acid-test", "ns", admin_role="admin", cross_namespace_secrets=True)
    users = {"apps.svc": [], "writer": []}
    desired = desired_state(users, {"far": "apps.svc", "near": "writer"}, None, rules=rules)
    found = difference(
        without_roles(desired, frozenset({"apps.svc"})), catalogue(live_role("admin")), matching=frozenset()
    )
    said = " ".join(statement.sql.as_string(None) for statement in found)
    assert "apps.svc" not in said
    assert '"far"' not in said
    assert 'CREATE DATABASE "near"' in said
    assert 'CREATE ROLE "writer"' in said
    assert without_roles(desired, frozenset()) is desired


def test_a_prepared_database_is_made_without_its_users_that_wait():
    rules = RoleRules("acid-test", "ns", admin_role="admin", cross_namespace_secrets=True)
    desired = desired_state({}, {}, {"foo": {"defaultUsers": True, "secretNamespace": "apps"}}, rules=rules)
    waiting = frozenset(
        role.name for role in desired.roles if role.password is not None and role.password.namespace == "apps"
    )
    assert waiting == {"foo_owner_user", "foo_reader_user", "foo_writer_user"}
    found = difference(without_roles(desired, waiting), catalogue(live_role("admin")), matching=frozenset())
    said = " ".join(statement.sql.as_string(None) for statement in found)
    assert not [name for name in waiting if name in said]
    assert 'ALTER DEFAULT PRIVILEGES FOR ROLE "foo_owner"' in said
    whole = " ".join(
        s.sql.as_string(None) for s in difference(desired, catalogue(live_role("admin")), matching=frozenset())
    )
    assert 'ALTER DEFAULT PRIVILEGES FOR ROLE "foo_owner_user"' in whole
