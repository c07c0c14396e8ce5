"""All controllers, and the kinds that they watch."""

from collections.abc import Callable
from pathlib import Path

from howdah.kube.resources import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.local.controllers.accounts import accounts_controller
from howdah.local.controllers.budgets import budgets_controller
from howdah.local.controllers.claims import claims_controller
from howdah.local.controllers.deployment import deployments_controller, replica_sets_controller
from howdah.local.controllers.endpoints import endpoints_controller
from howdah.local.controllers.jobs import cron_jobs_controller, jobs_controller
from howdah.local.controllers.loop import Controller, World
from howdah.local.controllers.statefulset import statefulset_controller
from howdah.local.node.fencing import User

CACHED = (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    PODS,
    PERSISTENT_VOLUME_CLAIMS,
    SERVICES,
    ENDPOINTS,
    ENDPOINT_SLICES,
    STATEFUL_SETS,
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DEPLOYMENTS,
    REPLICA_SETS,
    JOBS,
    POD_DISRUPTION_BUDGETS,
)


def controllers(
    world: World, directory: Path, user: User | None, is_in_use: Callable[[str, str], bool]
) -> list[Controller]:
    """Made before the caches run, so that each hears of everything."""
    return [
        accounts_controller(world),
        claims_controller(world, directory, user, is_in_use),
        statefulset_controller(world),
        endpoints_controller(world),
        budgets_controller(world),
        deployments_controller(world),
        replica_sets_controller(world),
        jobs_controller(world),
        cron_jobs_controller(world),
    ]
