"""What the operator tells Prometheus: clusters by state, passes, queue, API calls, steps. Nothing per cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PASS_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All metrics of one operator process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._on_demand: Collector | None = None
        self.passes = Histogram(
            "howdah_pass_duration_seconds", "Duration of one pass over one cluster.", ["outcome"],
            buckets=PASS_BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.steps = Counter(
            "howdah_steps_total",
            "Steps carried out, by kind and outcome.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.api_calls = Counter(
            "howdah_api_calls_total", "Calls to the Kubernetes API, by verb, resource and HTTP status (0: no answer).",
            ["verb", "resource", "code"], registry=self.registry,
        )  # fmt: skip
        self.last_success = Gauge(
            "howdah_last_successful_pass_timestamp_seconds",
            "When a pass last ended without error.",
            registry=self.registry,
        )
        self.leading = Gauge("howdah_leading", "1 while this process holds the Lease.", registry=self.registry)
        self._configuration_in_force = Gauge(
            "howdah_configuration_in_force",
            "1 while the operator's configuration is in force as it stands; 0 where it is not valid or waits for a restart.",
            registry=self.registry,
        )
        self.malformed = Gauge(
            "howdah_malformed_objects",
            "Objects of the watched kinds that cannot be read; their clusters are left as they are.",
            registry=self.registry,
        )
        self.cache_silence = Gauge(
            "howdah_cache_silence_seconds",
            "Seconds since the quietest cache of what may be seen heard from the Kubernetes API, which speaks each minute.",
            registry=self.registry,
        )

    def watch(
        self,
        *,
        clusters_by_phase: Callable[[], Mapping[str, int]],
        queue_depth: Callable[[], int],
        denied: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        """Register what is computed when it is asked for, in place of what was registered before.

        `denied`: (kind, namespace) of what may not be seen.
        """
        if self._on_demand is not None:
            self.registry.unregister(self._on_demand)
        self._on_demand = _OnDemand(clusters_by_phase, queue_depth, denied)
        self.registry.register(self._on_demand)

    def caches(self, *, malformed: Callable[[], int], silence_s: Callable[[], float]) -> None:
        """What is computed when it is asked for, of the caches in use now: see `Watch`."""
        self.malformed.set_function(malformed)
        self.cache_silence.set_function(silence_s)

    def configuration_is_in_force(self, holds: bool) -> None:
        """Whether all that the configuration says is in force."""
        self._configuration_in_force.set(holds)

    def api_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        del seconds
        self.api_calls.labels(verb, resource, str(code)).inc()


@dataclass(frozen=True, eq=False)  # each is another one for the registry
class _OnDemand(Collector):
    clusters_by_phase: Callable[[], Mapping[str, int]]
    queue_depth: Callable[[], int]
    denied: Callable[[], Iterable[tuple[str, str]]]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        clusters = GaugeMetricFamily(
            "howdah_clusters",
            "Clusters by PostgresClusterStatus (none: not looked at yet); of who leads or only observes, not of a standby.",
            labels=["state"],
        )
        for phase, count in sorted(self.clusters_by_phase().items()):
            clusters.add_metric([phase or "none"], count)
        yield clusters
        unseen = GaugeMetricFamily(
            "howdah_denied",
            "1 for each kind that may not be seen in a watched namespace (*: in all); its clusters are left as they are.",
            labels=["kind", "watched_namespace"],
        )
        for place in sorted(set(self.denied())):
            unseen.add_metric(place, 1)
        yield unseen
        yield GaugeMetricFamily("howdah_queue_depth", "Clusters that wait for a pass.", value=self.queue_depth())
