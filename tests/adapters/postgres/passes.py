"""One pass as the operator makes it: observe, check passwords, decide, apply."""

import hashlib
from collections.abc import Mapping

from adapters.postgres.servers import Server
from howdah.adapters.postgres import Outcome, Password, PasswordChecks, apply, observe
from howdah.core.postgres.difference import difference, interest
from howdah.model.postgres.desired import Desired, PasswordSource, RoleRules
from howdah.model.postgres.passwords import Method
from howdah.model.postgres.statements import Statement

RULES = RoleRules("acid-test", "default", admin_role="admin")


def always() -> None:
    """Who asks leads."""


Passwords = Mapping[PasswordSource, Password]


def passwords(desired: Desired, **own: str) -> dict[PasswordSource, Password]:
    """A password for each role that has one: `secret of NAME`, or its own."""
    known = {"postgres": "super secret"} | own
    return {
        role.password: _secret(known.get(role.name, f"secret of {role.name}"))
        for role in desired.roles
        if role.password is not None
    }


def _secret(value: str) -> Password:
    return Password(value, hashlib.sha256(value.encode()).hexdigest())


async def missing(
    server: Server, desired: Desired, secrets: Passwords, checks: PasswordChecks | None = None
) -> tuple[Statement, ...]:
    """The statements that a pass would send now."""
    catalogue = await observe(server.target, interest(desired))
    matching = await (checks or PasswordChecks()).matching(desired.roles, catalogue, secrets)
    return difference(desired, catalogue, matching=matching)


async def one_pass(
    server: Server, desired: Desired, secrets: Passwords | None = None, method: Method = "scram-sha-256"
) -> Outcome:
    """A whole pass."""
    known = passwords(desired) if secrets is None else secrets
    return await apply(server.target, await missing(server, desired, known), known, method=method, permit=always)


async def settle(
    server: Server, desired: Desired, secrets: Passwords | None = None, method: Method = "scram-sha-256"
) -> Outcome:
    """A pass that works, after which a second one finds nothing to do."""
    known = passwords(desired) if secrets is None else secrets
    outcome = await one_pass(server, desired, known, method)
    assert [str(failure.error) for failure in outcome.failed] == []
    assert [statement.reason for statement in await missing(server, desired, known)] == []
    return outcome
