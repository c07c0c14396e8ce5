"""What is said of a cluster: phases, conditions, lag classes, and one event per transition."""

import datetime as dt
from dataclasses import replace

import pytest

from howdah.core.plan import Apply, Create, Held, Plan, ReplacePod, RestartMember, RunStatements, Switchover, Wait
from howdah.core.status import (
    BEHIND_ABOVE_BYTES,
    OK_BELOW_BYTES,
    Event,
    Findings,
    Outcome,
    PoolerView,
    build_status,
    is_commentary,
    lag_class,
    phase,
    transitions,
)
from howdah.model.errors import Problem
from howdah.model.units import PgVersion
from unit.core.clusters import NOW, OUTDATED, leader, pod, situation, three

LATER = NOW + dt.timedelta(minutes=5)
APPLY = Apply(reason="Service a: spec.type is x", body={"kind": "Service", "metadata": {"name": "a"}}, uid="u")
REPLACE = ReplacePod(reason="r", name="acid-a-1", uid="u", resource_version="1")
SWITCH = Switchover(reason="r", leader="acid-a-0", candidate="acid-a-1")
WELL = situation(*three()).views
SICK = situation(leader(), pod(1), pod(2, ready=False)).views
FAILED = situation(leader(), pod(1), pod(2, waiting="ErrImagePull")).views
ROLLING = situation(leader(revision=OUTDATED), pod(1), pod(2)).views
GOOD = Findings(
    generation=1,
    instances=3,
    is_initialized=True,
    views=WELL,
    leader="acid-a-0",
    accepts_writes=True,
    version="18.4",
    credentials_in_sync=True,
)
HEADLESS = replace(GOOD, leader=None, accepts_writes=False)
NEW = replace(GOOD, is_initialized=False, views=(), leader=None, accepts_writes=False)
BAD = replace(GOOD, problems=(Problem("spec.volume.size", "is no quantity"),))
DONE, NOTHING = Outcome(), Plan()
BIND = Create(reason="r", body={"kind": "RoleBinding", "metadata": {"name": "postgres-pod"}})
PASSWORDS = RunStatements(reason="r", database="postgres", statements=(), sets_passwords_of_pods=True)
BROKE = Outcome(failed=APPLY, error="403 Forbidden")


# --- the phase ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "previous", "findings", "plan", "outcome", "expected"),
    [
        ("all is as asked", "Running", GOOD, NOTHING, DONE, "Running"),
        ("it gets complete", "Creating", GOOD, NOTHING, DONE, "Running"),
        ("nothing was initialised", "", NEW, NOTHING, DONE, "Creating"),
        (
            "its members start for the first time",
            "Creating",
            replace(GOOD, is_new=True, views=SICK),
            NOTHING,
            DONE,
            "Creating",
        ),
        (
            "one of them cannot start",
            "Creating",
            replace(GOOD, is_new=True, views=FAILED),
            NOTHING,
            DONE,
            "CreateFailed",
        ),
        (
            "its roles are not there yet",
            "Creating",
            replace(GOOD, is_new=True, awaits_databases=True),
            NOTHING,
            DONE,
            "Creating",
        ),
        ("a step of its creation failed", "Creating", NEW, NOTHING, BROKE, "CreateFailed"),
        ("the first manifest is wrong", "", BAD, NOTHING, DONE, "CreateFailed"),
        ("a later manifest is wrong", "Running", BAD, NOTHING, DONE, "UpdateFailed"),
        ("something is being changed", "Running", GOOD, Plan(steps=(APPLY,)), DONE, "Updating"),
        ("pods are being replaced", "Running", replace(GOOD, views=ROLLING), NOTHING, DONE, "Updating"),
        ("roles are being read", "Running", replace(GOOD, awaits_databases=True), NOTHING, DONE, "Updating"),
        ("a roll stopped", "Updating", GOOD, Plan(stopped="bad image"), DONE, "UpdateFailed"),
        ("a step failed", "Running", GOOD, NOTHING, BROKE, "SyncFailed"),
        ("somebody wrote first", "Running", GOOD, NOTHING, replace(BROKE, is_conflict=True), "Running"),
        ("nobody accepts writes", "Running", HEADLESS, NOTHING, DONE, "SyncFailed"),
        (
            "nobody does because we hand over",
            "Updating",
            HEADLESS,
            Plan(steps=(SWITCH,)),
            Outcome((SWITCH,)),
            "Updating",
        ),
        (
            "the databases cannot be read",
            "Running",
            replace(GOOD, database_error="no route"),
            NOTHING,
            DONE,
            "SyncFailed",
        ),
        ("no instances are asked for", "Running", replace(HEADLESS, instances=0, views=()), NOTHING, DONE, "Running"),
        ("a standby cluster accepts none", "Running", replace(HEADLESS, is_standby=True), NOTHING, DONE, "Running"),
        ("a member is sick", "Running", replace(GOOD, views=SICK), NOTHING, DONE, "Running"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_phase(claim, previous, findings, plan, outcome, expected):
    assert phase(previous, findings, plan, outcome) == expected, claim


# --- conditions --------------------------------------------------------------------------------------------------------


def condition(kind, findings=GOOD, plan=NOTHING, outcome=DONE, previous=None):
    status = build_status(previous or {"PostgresClusterStatus": "Running"}, findings, plan, outcome, NOW)
    found = next(c for c in status["conditions"] if c["type"] == kind)
    return found["status"], found["reason"], found["message"]


WAITING = Plan(waits=(Wait(2.0, "Pod acid-a-2 is being deleted"),))
HOLDING = Plan(held=(Held(REPLACE, "annotation howdah.dev/pause: all"),), waits=(Wait(9.0, "later"),))


@pytest.mark.parametrize(
    ("kind", "findings", "plan", "outcome", "expected"),
    [
        ("Ready", GOOD, NOTHING, DONE, ("True", "LeaderAcceptsWrites", "acid-a-0 accepts writes")),
        (
            "Ready",
            replace(HEADLESS, instances=0),
            NOTHING,
            DONE,
            ("False", "NoInstances", "numberOfInstances is 0: no server runs, as the manifest says"),
        ),
        (
            "Ready",
            replace(GOOD, is_standby=True, accepts_writes=False, leads=True),
            NOTHING,
            DONE,
            ("True", "StandbyLeaderRuns", "acid-a-0 leads a standby cluster; it accepts no writes"),
        ),
        (
            "Ready",
            replace(GOOD, is_standby=True, leads=True),
            NOTHING,
            DONE,
            ("True", "LeaderAcceptsWrites", "acid-a-0 accepts writes"),
        ),
        ("Ready", NEW, NOTHING, DONE, ("False", "Creating", "the first member has not initialised the database yet")),
        ("Ready", HEADLESS, NOTHING, DONE, ("False", "NoLeader", "no member accepts writes")),
        ("Progressing", GOOD, NOTHING, DONE, ("False", "Settled", "")),
        (
            "Progressing",
            BAD,
            Plan(steps=(APPLY,)),
            DONE,
            ("False", "InvalidSpec", "the manifest is not acted on; the cluster stays as it was"),
        ),
        ("Progressing", GOOD, Plan(steps=(APPLY,)), DONE, ("True", "Stepping", "Service a: spec.type is x")),
        ("Progressing", GOOD, WAITING, DONE, ("True", "Waiting", "Pod acid-a-2 is being deleted")),
        ("Progressing", GOOD, HOLDING, DONE, ("False", "Held", "")),
        ("Progressing", GOOD, replace(WAITING, stopped="s"), DONE, ("False", "Settled", "")),
        ("Degraded", GOOD, NOTHING, DONE, ("False", "AsDesired", "")),
        ("Degraded", BAD, NOTHING, DONE, ("True", "InvalidSpec", "spec.volume.size: is no quantity")),
        ("Degraded", GOOD, NOTHING, BROKE, ("True", "StepFailed", "Service a: 403 Forbidden")),
        ("Degraded", GOOD, NOTHING, replace(BROKE, is_conflict=True), ("False", "AsDesired", "")),
        ("Degraded", GOOD, Plan(stopped="bad image"), DONE, ("True", "Stopped", "bad image")),
        (
            "Degraded",
            replace(GOOD, database_error="no route"),
            NOTHING,
            DONE,
            ("True", "DatabaseUnreachable", "no route"),
        ),
        (
            "Degraded",
            replace(GOOD, views=SICK),
            NOTHING,
            DONE,
            ("True", "MembersUnhealthy", "acid-a-2 is not ready (phase Running)"),
        ),
        ("Degraded", replace(GOOD, views=WELL[:2]), NOTHING, DONE, ("True", "MembersMissing", "2 of 3 members exist")),
        (
            "Degraded",
            replace(GOOD, is_standby=True, is_standby_refused=True),
            NOTHING,
            DONE,
            (
                "True",
                "NotAStandby",
                "spec.standby asks for a standby cluster, and acid-a-0 accepts writes: Patroni's configuration has no "
                "standby_cluster. Roles and databases are left alone; remove spec.standby to keep the primary",
            ),
        ),
        (
            "Degraded",
            replace(GOOD, database_problem='database "shop" cannot be looked into: no'),
            NOTHING,
            DONE,
            ("True", "DatabasesUnread", 'database "shop" cannot be looked into: no'),
        ),
        (
            "Degraded",
            replace(GOOD, secret_problem="spec.users.a.b: no"),
            NOTHING,
            DONE,
            ("True", "SecretsOutOfReach", "spec.users.a.b: no"),
        ),
        ("RestartPending", GOOD, NOTHING, DONE, ("False", "None", "")),
        ("RestartPending", replace(GOOD, views=ROLLING), NOTHING, DONE, ("True", "Replacement", "acid-a-0")),
        (
            "RestartPending",
            replace(GOOD, views=ROLLING),
            HOLDING,
            DONE,
            ("True", "Replacement", "acid-a-0; held: annotation howdah.dev/pause: all"),
        ),
        (
            "RestartPending",
            replace(GOOD, views=situation(leader(), pod(1, pending_restart={"shared_buffers": ("1", "2")})).views),
            NOTHING,
            DONE,
            ("True", "Parameters", "acid-a-1"),
        ),
        (
            "RestartPending",
            replace(GOOD, views=situation(leader(), pod(1, pending_restart={"shared_buffers": ("1", "2")})).views),
            Plan(held=(Held(RestartMember(reason="", name="acid-a-1", uid=""), "in vain", is_lasting=True),)),
            DONE,
            ("True", "Parameters", "acid-a-1; held: in vain"),
        ),
        ("CredentialsInSync", GOOD, NOTHING, DONE, ("True", "Match", "")),
        (
            "CredentialsInSync",
            replace(GOOD, credentials_in_sync=False),
            NOTHING,
            DONE,
            ("False", "Differ", "a stored password differs from its Secret"),
        ),
        ("CredentialsInSync", replace(GOOD, credentials_in_sync=None), NOTHING, DONE, ("Unknown", "NotChecked", "")),
    ],
)
def test_every_condition(kind, findings, plan, outcome, expected):
    assert condition(kind, findings, plan, outcome) == expected


def test_members_of_a_new_cluster_that_start_are_no_alarm_unless_one_has_failed():
    new = {"PostgresClusterStatus": "Creating"}
    assert condition("Degraded", replace(GOOD, views=SICK), previous=new)[0] == "False"
    assert condition("Degraded", replace(GOOD, views=WELL[:1]), previous=new)[0] == "False"
    assert condition("Degraded", replace(GOOD, views=FAILED), previous=new)[0] == "True"


STUCK = replace(GOOD, failed_statements=(("alpha", "no such extension"),))


def test_statements_that_failed_stay_said_while_the_databases_are_read_anew():
    statements = RunStatements(reason="r", database="alpha", statements=())
    failing = Outcome(failed=statements, error="no such extension", failures=((statements, "no such extension"),))
    told = build_status({"PostgresClusterStatus": "Running"}, GOOD, Plan(steps=(statements,)), failing, NOW)
    read_anew = build_status(told, STUCK, NOTHING, DONE, LATER)
    assert condition("Degraded", STUCK) == ("True", "StepFailed", "database alpha: no such extension")
    assert read_anew["PostgresClusterStatus"] == told["PostgresClusterStatus"] == "SyncFailed"
    assert transitions(told, read_anew) == ()


def test_every_failure_is_named_once():
    statements = RunStatements(reason="r", database="alpha", statements=())
    both = Outcome(failed=APPLY, error="403", failures=((APPLY, "403"), (statements, "no such extension")))
    assert condition("Degraded", STUCK, outcome=both)[2] == "Service a: 403; database alpha: no such extension"
    assert condition("Degraded", STUCK, outcome=BROKE)[2] == (
        "Service a: 403 Forbidden; database alpha: no such extension"
    )


def test_a_lost_race_does_not_undo_what_failed_before_it():
    raced = Outcome(failed=REPLACE, error="409", is_conflict=True, failures=((APPLY, "403"),))
    assert condition("Degraded", outcome=raced) == ("True", "StepFailed", "Service a: 403")
    assert phase("Running", GOOD, NOTHING, raced) == "SyncFailed"


@pytest.mark.parametrize(
    ("claim", "outcome", "expected"),
    [
        ("nothing failed", DONE, True),
        ("a step that holds up everything failed", Outcome(failed=REPLACE, error="no"), False),
        ("what stands alone failed", Outcome(failed=APPLY, error="no", failures=((APPLY, "no"),)), True),
        ("the pods' role binding cannot be made", Outcome(failed=BIND, error="no", failures=((BIND, "no"),)), False),
        ("somebody else wrote first", Outcome(failed=APPLY, error="409", is_conflict=True), False),
        (
            "a database refused",
            Outcome(failures=((RunStatements(reason="r", database="a", statements=()), "no"),)),
            True,
        ),
        ("a password of pods was refused", Outcome(failures=((PASSWORDS, "no"),)), False),
        ("such a password is being set", Outcome(at_work=(PASSWORDS,)), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_failed_before_permits_interrupting_somebody(claim, outcome, expected):
    assert outcome.permits_disruption is expected, claim


def test_after_a_restart_of_the_operator_what_was_known_of_passwords_still_holds():
    before = build_status({}, replace(GOOD, credentials_in_sync=False), NOTHING, DONE, NOW)
    unread = replace(GOOD, credentials_in_sync=None)
    assert condition("CredentialsInSync", unread, previous=before)[:2] == ("False", "Differ")
    unreachable = replace(unread, database_error="no route")
    assert condition("CredentialsInSync", unreachable, previous=before)[0] == "Unknown"


# --- the whole ---------------------------------------------------------------------------------------------------------


def test_the_status_of_a_quiet_cluster_does_not_change():
    first = build_status({}, GOOD, NOTHING, DONE, NOW)
    moved = replace(GOOD, views=situation(leader(lsn=5000), pod(1, lsn=4000), pod(2, lsn=3000)).views)
    assert build_status(first, moved, NOTHING, DONE, LATER) == first


def test_the_whole_status():
    status = build_status({"PostgresClusterStatus": "Running"}, GOOD, NOTHING, DONE, NOW)
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "PostgresClusterStatus": "Running",
        "observedGeneration": 1,
        "leader": "acid-a-0",
        "postgresqlVersion": "18.4",
        "members": [
            {"name": "acid-a-0", "role": "leader", "state": "running", "timeline": 1},
            {"name": "acid-a-1", "role": "replica", "state": "streaming", "timeline": 1, "lag": "ok"},
            {"name": "acid-a-2", "role": "replica", "state": "streaming", "timeline": 1, "lag": "ok"},
        ],
    }
    assert [c["type"] for c in status["conditions"]] == [
        "Ready",
        "Progressing",
        "Degraded",
        "RestartPending",
        "CredentialsInSync",
    ]


@pytest.mark.parametrize(
    ("claim", "before", "after", "expected"),
    [
        ("a member starts", (NEW, Plan(waits=(Wait(5.0, "0 of 3 pods exist"),))),
         (NEW, Plan(waits=(Wait(5.0, "1 of 3 pods exist"),))), True),
        ("a new cluster has a leader", (NEW, NOTHING), (replace(NEW, leader="acid-a-0"), NOTHING), True),
        ("its leader accepts writes", (replace(NEW, leader="acid-a-0"), NOTHING),
         (replace(NEW, leader="acid-a-0", accepts_writes=True), NOTHING), False),
        ("the last member is there", (GOOD, Plan(waits=(Wait(5.0, "Pod acid-a-2 is not ready"),))), (GOOD, NOTHING), False),
        ("a member falls ill", (GOOD, NOTHING), (replace(GOOD, views=SICK), NOTHING), False),
        ("another one leads", (GOOD, NOTHING), (replace(GOOD, leader="acid-a-1"), NOTHING), False),
        ("a new manifest", (GOOD, NOTHING), (replace(GOOD, generation=2), NOTHING), False),
    ],
)  # fmt: skip
def test_only_how_far_members_have_come_is_commentary(claim, before, after, expected):
    one, other = (build_status({}, findings, plan, DONE, NOW) for findings, plan in (before, after))
    assert is_commentary(one, other) is expected, claim


def test_a_time_changes_only_with_what_it_dates():
    first = build_status({}, GOOD, NOTHING, DONE, NOW)
    second = build_status(first, replace(GOOD, views=SICK), NOTHING, DONE, LATER)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times["Degraded"] == "2026-01-02T03:09:05Z"
    assert times["Ready"] == "2026-01-02T03:04:05Z"


def test_the_version_that_was_known_stays_while_nobody_can_be_asked():
    first = build_status({}, GOOD, NOTHING, DONE, NOW)
    assert build_status(first, replace(HEADLESS, version=None), NOTHING, DONE, NOW)["postgresqlVersion"] == "18.4"


def test_a_silent_member_has_an_unknown_state():
    views = situation(leader(), pod(1, silent=True)).views
    members = build_status({}, replace(GOOD, views=views), NOTHING, DONE, NOW)["members"]
    assert members[1] == {"name": "acid-a-1", "role": "replica", "state": "unknown", "lag": "broken"}


# --- lag ---------------------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


def lag(before, lag_bytes, **changes):
    head, follower = situation(leader(lsn=100 * MIB), pod(1, lsn=100 * MIB - lag_bytes, **changes)).views
    return lag_class(before, follower, head)


@pytest.mark.parametrize(
    ("before", "lag_bytes", "expected"),
    [
        (None, 0, "ok"),
        ("ok", OK_BELOW_BYTES, "ok"),
        ("ok", BEHIND_ABOVE_BYTES, "ok"),
        ("ok", BEHIND_ABOVE_BYTES + 1, "behind"),
        ("behind", BEHIND_ABOVE_BYTES, "behind"),
        ("behind", OK_BELOW_BYTES, "behind"),
        ("behind", OK_BELOW_BYTES - 1, "ok"),
        ("broken", 20 * MIB, "ok"),
        (None, 20 * MIB, "ok"),
        ("behind", -5 * MIB, "ok"),
    ],
)
def test_a_lag_between_the_limits_stays_what_it_was(before, lag_bytes, expected):
    assert lag(before, lag_bytes) == expected


def test_a_replica_that_does_not_stream_or_has_no_leader_is_broken():
    assert lag("ok", 0, state="starting") == "broken"
    (alone,) = situation(pod(1), leader_lock={}).views
    assert lag_class("ok", alone, None) == "broken"


# --- events ------------------------------------------------------------------------------------------------------------


def events(*stages):
    """The events of the last of several statuses in a row."""
    status = {}
    for findings, plan in stages:
        previous, status = status, build_status(status, findings, plan, DONE, NOW)
    return transitions(previous, status)


CALM = (GOOD, NOTHING)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([CALM, CALM], []),
        ([CALM], [Event("Normal", "Ready", "acid-a-0 accepts writes")]),
        ([CALM, (HEADLESS, NOTHING)], [Event("Warning", "NotReady", "no member accepts writes")]),
        ([CALM, (HEADLESS, NOTHING), (HEADLESS, NOTHING)], []),
        (
            [CALM, (replace(GOOD, views=SICK), NOTHING)],
            [Event("Warning", "MembersUnhealthy", "acid-a-2 is not ready (phase Running)")],
        ),
        (
            [CALM, (replace(GOOD, views=SICK), NOTHING), CALM],
            [Event("Normal", "Recovered", "the cluster is as desired again")],
        ),
        ([CALM, (replace(GOOD, views=ROLLING), NOTHING)], [Event("Normal", "RestartPending", "acid-a-0")]),
        (
            [CALM, (replace(GOOD, credentials_in_sync=False), NOTHING)],
            [Event("Normal", "CredentialsDiffer", "a stored password differs from its Secret")],
        ),
        ([(NEW, NOTHING)], []),
        (
            [CALM, (replace(GOOD, leader="acid-a-1"), NOTHING)],
            [Event("Normal", "LeaderChanged", "acid-a-1 leads now, after acid-a-0")],
        ),
        ([CALM, (BAD, NOTHING)], [Event("Warning", "InvalidSpec", "spec.volume.size: is no quantity")]),
        ([CALM, (GOOD, Plan(steps=(APPLY,)))], []),
    ],
    ids=[
        "nothing changed",
        "first ready",
        "no leader",
        "still no leader",
        "a member is sick",
        "it is well again",
        "pods are to be replaced",
        "a password was edited",
        "a new cluster",
        "another leader",
        "an invalid manifest",
        "a step",
    ],
)
def test_one_event_per_transition(stages, expected):
    assert list(events(*stages)) == expected


# --- a major upgrade ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "changes", "reason", "said"),
    [
        ("as asked", {}, None, ""),
        (
            "a higher one is told already",
            {"asked_version": PgVersion(19)},
            "UpgradeDue",
            "PostgreSQL 18 runs and 19 is",
        ),
        ("not allowed", {"asked_version": PgVersion(19), "may_upgrade": False}, "NotAllowed", "upgrade_mode off"),
        ("outside its window", {"asked_version": PgVersion(19), "version_held": "19 waits"}, "VersionHeld", "19 waits"),
        ("a lower one", {"asked_version": PgVersion(17), "version_held": "17 is lower"}, "VersionHeld", "17 is lower"),
        ("nothing runs", {"asked_version": PgVersion(19), "instances": 0}, None, ""),
        ("not known yet", {"asked_version": PgVersion(19), "version": None}, None, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_major_upgrade_that_is_due_is_said_with_what_holds_it(claim, changes, reason, said):
    findings = replace(GOOD, **{"asked_version": PgVersion(18), **changes})
    status = build_status({"PostgresClusterStatus": "Running"}, findings, NOTHING, DONE, NOW)
    found = [c for c in status["conditions"] if c["type"] == "UpgradePending"]
    assert [(c["status"], c["reason"]) for c in found] == ([("True", reason)] if reason else []), claim
    assert all(said in c["message"] for c in found)
    assert [e.reason for e in transitions({**status, "conditions": []}, status)].count("UpgradePending") == len(found)


def test_the_version_that_was_read_last_counts_until_it_is_read_again():
    before = {"PostgresClusterStatus": "Running", "postgresqlVersion": "17.2"}
    status = build_status(before, replace(GOOD, version=None, asked_version=PgVersion(18)), NOTHING, DONE, NOW)
    assert status["postgresqlVersion"] == "17.2"
    assert status["conditions"][-1]["reason"] == "UpgradeDue"


# --- poolers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("available", "status", "reason"),
    [((2, 2), "True", "AllPods"), ((2, 1), "True", "SomePods"), ((2, 0), "False", "NoPod")],
)
def test_poolers_are_said_beside_the_cluster_which_is_as_well_without_them(
    available: tuple[int, int], status: str, reason: str
) -> None:
    poolers = tuple(PoolerView(f"p-{number}", 2, count) for number, count in enumerate(available))
    said = build_status({}, replace(GOOD, poolers=poolers), NOTHING, DONE, NOW)
    found = {c["type"]: c for c in said["conditions"]}
    assert (found["PoolersReady"]["status"], found["PoolersReady"]["reason"]) == (status, reason)
    assert f"p-1: {available[1]} of 2 pods" in found["PoolersReady"]["message"]
    assert found["Degraded"]["status"] == "False"
    assert said["PostgresClusterStatus"] == "Running"


def test_a_cluster_without_poolers_says_nothing_of_them() -> None:
    said = build_status({}, GOOD, NOTHING, DONE, NOW)
    assert "PoolersReady" not in {c["type"] for c in said["conditions"]}


def test_a_pooler_that_stops_is_a_warning() -> None:
    well = replace(GOOD, poolers=(PoolerView("p", 1, 1),))
    before = build_status({}, well, NOTHING, DONE, NOW)
    after = build_status(before, replace(GOOD, poolers=(PoolerView("p", 1, 0),)), NOTHING, DONE, LATER)
    assert transitions(before, after) == (Event("Warning", "PoolersNotReady", "p: 0 of 1 pods take connections"),)
