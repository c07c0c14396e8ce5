"""The Grafana dashboard of the chart, from a table of panels: one row of the table is one panel."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_PICK = 'namespace=~"$namespace"'
_WIDTH, _HEIGHT = 12, 8

# title, unit, kind, queries as (legend, expression)
PANELS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Clusters by state", "short", "timeseries", (("{{state}}", f"sum by (state) (howdah_clusters{{{_PICK}}})"),)),
    ("Operators that lead", "short", "stat", (("leading", f"sum(howdah_leading{{{_PICK}}})"),)),
    (
        "Passes per second",
        "ops",
        "timeseries",
        (("{{outcome}}", f"sum by (outcome) (rate(howdah_pass_duration_seconds_count{{{_PICK}}}[5m]))"),),
    ),
    (
        "Duration of a pass",
        "s",
        "timeseries",
        tuple(
            (
                f"{name}",
                f"histogram_quantile({q}, sum by (le) (rate(howdah_pass_duration_seconds_bucket{{{_PICK}}}[5m])))",
            )
            for name, q in (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99))
        ),
    ),
    ("Clusters that wait for a pass", "short", "timeseries", (("{{pod}}", f"howdah_queue_depth{{{_PICK}}}"),)),
    (
        "Since a pass succeeded",
        "s",
        "timeseries",
        (("", f"time() - max(howdah_last_successful_pass_timestamp_seconds{{{_PICK}}})"),),
    ),
    (
        "Steps per hour",
        "short",
        "timeseries",
        (("{{kind}} {{outcome}}", f"sum by (kind, outcome) (increase(howdah_steps_total{{{_PICK}}}[1h]))"),),
    ),
    (
        "Calls to the Kubernetes API per second",
        "ops",
        "timeseries",
        (("{{verb}} {{resource}}", f"sum by (verb, resource) (rate(howdah_api_calls_total{{{_PICK}}}[5m]))"),),
    ),
    (
        "Calls that fail per hour",
        "short",
        "timeseries",
        (
            (
                "{{verb}} {{resource}} {{code}}",
                f'sum by (verb, resource, code) (increase(howdah_api_calls_total{{{_PICK}, code!~"[23].."}}[1h]))',
            ),
        ),
    ),
    ("Objects that cannot be read", "short", "stat", (("", f"max(howdah_malformed_objects{{{_PICK}}})"),)),
)


def dashboard() -> Json:
    """As Grafana imports it; it asks for a Prometheus data source."""
    return {
        "title": "howdah",
        "uid": "howdah",
        "tags": ["postgresql"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _namespaces()]},
        "panels": [_panel(number, *panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, title: str, unit: str, kind: str, queries: tuple[tuple[str, str], ...]) -> Json:
    place = {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "title": title,
        "type": kind,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": expression, "legendFormat": legend}
            for index, (legend, expression) in enumerate(queries)
        ],
    }


def _source() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _namespaces() -> Json:
    return {
        "name": "namespace",
        "label": "Namespace of the operator",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": "label_values(howdah_leading, namespace)",
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
    }
