"""Families of figures in the form of Prometheus, made of plain values.

Its client takes as long to be imported as a tenth of what Duck imports for a start, and is needed by who is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

Samples = list[tuple[dict[str, str], float]]


def exposition(families: Iterable[Metric]) -> bytes:
    """All of them in the text format of Prometheus, version 0.0.4."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast("Collector", _Made(list(families))))
    return generate_latest(registry)


class _Made:
    """Families that were made already, as a registry asks for them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def counter(name: str, text: str, samples: Samples) -> Metric:
    """A counter; `name` without `_total`, labels and value of each sample."""
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, text, labels=_labels(samples)), samples)


def gauge(name: str, text: str, samples: Samples) -> Metric:
    """A gauge: labels and value of each sample."""
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, text, labels=_labels(samples)), samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(list(labels.values()), value)
    return family


def _labels(samples: Samples) -> list[str]:
    return list(samples[0][0]) if samples else []


def histogram(name: str, text: str, bounds: Iterable[float], told: Mapping[str, Any]) -> Metric:
    """A histogram without labels; `told` has the `counts` of its buckets, the last without bound, and the `sum`."""
    from prometheus_client.core import HistogramMetricFamily

    uppers = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    counts = told.get("counts") or [0] * len(uppers)
    family = HistogramMetricFamily(name, text)
    family.add_metric([], list(zip(uppers, accumulate(counts), strict=False)), told.get("sum", 0))
    return family
