"""What each cluster's objects were last built from and compared with: most passes build and compare nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.controller.references import ReferenceReader, asking
from howdah.core.alignment import differences
from howdah.core.facts import facts_version, live_facts
from howdah.core.intent import without_intent
from howdah.core.objects.build import build
from howdah.core.objects.diff import Difference
from howdah.core.resolve import resolve
from howdah.kube.informer import Key
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.errors import Problem
from howdah.model.observed import Live, Observed
from howdah.model.settings import Settings


@dataclass(frozen=True, slots=True)
class Built:
    """A resolved cluster with its objects, remembered as long as what it was made from stays the same."""

    made_from: object
    cluster: Cluster
    intended: tuple[Mapping[str, Any], ...]

    def is_over(self, now: dt.datetime) -> bool:
        """Whether time alone has changed the request: a maintenance window has opened."""
        until = self.cluster.rollout.version_held_until
        return until is not None and until <= now


@dataclass(slots=True)
class _Comparison:
    """What one comparison found, and of what; a version that brought another status alone makes no other."""

    intended: tuple[Mapping[str, Any], ...]
    version: tuple[str, str]
    hash_but_status: int
    found: tuple[Difference, ...]

    def is_of(self, built: Built, live: Live) -> bool:
        if self.intended is not built.intended:
            return False
        if self.version != live.version and self.hash_but_status == live.hash_but_status():
            self.version = live.version
        return self.version == live.version


class Builds:
    """Remembered as long as what they were made from stays the same; a restart loses nothing but work.

    `warn` is told of each warning of a manifest that was built anew.
    """

    def __init__(self, settings: Settings, references: ReferenceReader, warn: Callable[[Live, Problem], None]) -> None:
        self._settings = settings
        self._references = references
        self._warn = warn
        self._built: dict[Key, Built] = {}
        self._compared: dict[Key, dict[tuple[str, str], _Comparison]] = {}

    def known(self, key: Key) -> Built | None:
        """What it was built to last, if it was since the start."""
        return self._built.get(key)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._built.pop(key, None)
        self._compared.pop(key, None)

    async def of(self, key: Key, observed: Observed) -> Built:
        """What the cluster is to be. Raises InvalidSpec with every mistake."""
        references = await self._references.of(self._settings, key, asking(observed.resource))
        meta = observed.resource.meta
        of_resource = (meta.uid, meta.generation, meta.labels, without_intent(meta.annotations))
        made_from = (of_resource, facts_version(observed), references)
        known = self._built.get(key)
        if known is not None and known.made_from == made_from and not known.is_over(observed.now):
            return known
        raw = observed.resource.body(names.API_VERSION, names.KIND)
        raw["metadata"]["generation"] = meta.generation
        cluster = resolve(raw, self._settings, references, live_facts(observed))
        intended = build(cluster)
        if known is not None and known.cluster == cluster and known.intended == intended:
            built = dataclasses.replace(known, made_from=made_from)  # what was compared with it stays compared
        else:
            built = Built(made_from, cluster, intended)
        self._built[key] = built
        for warning in cluster.warnings:
            self._warn(observed.resource, warning)
        return built

    def differences(self, key: Key, built: Built, observed: Observed) -> dict[tuple[str, str], tuple[Difference, ...]]:
        """Compared once per version of both sides: most passes compare nothing."""
        before, now = self._compared.get(key, {}), dict[tuple[str, str], _Comparison]()
        for body in built.intended:
            place = (body["kind"], body["metadata"]["name"])
            live = observed.objects.get(place)
            if live is None:
                continue
            known = before.get(place)
            if known is None or not known.is_of(built, live):
                known = _Comparison(built.intended, live.version, live.hash_but_status(), differences(body, live))
            now[place] = known
        self._compared[key] = now
        return {place: known.found for place, known in now.items()}
