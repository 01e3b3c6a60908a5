"""Counters, gauges and histograms, cheap enough for once per token.

They have prometheus_client's interface (`labels(…).inc()`, `set`, `observe`) without its locks: a process
counts in one loop, and an increment from another thread costs at worst that increment. prometheus_client
itself writes the page that Prometheus reads.

    FALLBACKS.labels("no_prefill_worker").inc()
    itl = ITL_SECONDS.labels()          # a child may be kept by a hot path
    itl.observe(0.021)
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import ClassVar, Generic, Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

Place = Literal["front", "worker", "any"]
"""Which processes count it."""


class CounterChild:
    """One labelled series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Add `by`, which is never negative."""
        self.value += by


class GaugeChild:
    """One labelled series of a gauge."""

    __slots__ = ("_source", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._source: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        return self._value if self._source is None else float(self._source())

    def set(self, value: float) -> None:
        """Replace the value."""
        self._value = float(value)

    def inc(self, by: float = 1.0) -> None:
        """Move up."""
        self._value += by

    def dec(self, by: float = 1.0) -> None:
        """Move down."""
        self._value -= by

    def read_from(self, source: Callable[[], float]) -> None:
        """Ask `source` whenever the value is wanted."""
        self._source = source


class HistogramChild:
    """One labelled series of a histogram."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Samples per bucket, not cumulated; the last is above every bound."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add a sample, in the metric's unit, once or several times."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        return sum(self.counts)


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)


class Metric(Generic[Child]):
    """A row of the table: a family of series, one per combination of label values."""

    kind: ClassVar[str]

    def __init__(self, name: str, meaning: str, *labels: str, place: Place = "any") -> None:
        self.name = name
        self.meaning = meaning
        self.label_names = labels
        self.place = place
        self.children: dict[tuple[str, ...], Child] = {}
        self.reset()

    def labels(self, *values: str) -> Child:
        """The series of these label values, in the order of `label_names`; made when first asked for."""
        child = self.children.get(values)
        if child is None:
            assert len(values) == len(self.label_names), f"{self.name} wants the labels {self.label_names}"
            child = self.children[values] = self._child()
        return child

    def reset(self) -> None:
        """Forget every series. For tests, and for a process forked from another."""
        self.children.clear()
        if not self.label_names:  # there from the start, so that a rate can be taken from zero
            self.labels()

    def family(self) -> Family:
        """The series as prometheus_client writes them."""
        raise NotImplementedError

    def _child(self) -> Child:
        raise NotImplementedError


class Counter(Metric[CounterChild]):
    """Only grows; its name ends in `_total`."""

    kind = "counter"

    def inc(self, by: float = 1.0) -> None:
        """Without labels."""
        self.labels().inc(by)

    def value(self, *labels: str) -> float:
        """For tests and `tandem status`: 0 if it never moved."""
        return self.children[labels].value if labels in self.children else 0.0

    def family(self) -> Family:
        page = CounterMetricFamily(self.name, self.meaning, labels=self.label_names)
        return _filled(page, ((key, child.value) for key, child in self.children.items()))

    def _child(self) -> CounterChild:
        return CounterChild()


class Gauge(Metric[GaugeChild]):
    """Goes up and down."""

    kind = "gauge"

    def set(self, value: float) -> None:
        """Without labels."""
        self.labels().set(value)

    def inc(self, by: float = 1.0) -> None:
        """Without labels."""
        self.labels().inc(by)

    def dec(self, by: float = 1.0) -> None:
        """Without labels."""
        self.labels().dec(by)

    def read_from(self, source: Callable[[], float]) -> None:
        """Without labels: ask `source` whenever the page is rendered."""
        self.labels().read_from(source)

    def value(self, *labels: str) -> float:
        """For tests and `tandem status`: 0 if it was never set."""
        return self.children[labels].value if labels in self.children else 0.0

    def family(self) -> Family:
        page = GaugeMetricFamily(self.name, self.meaning, labels=self.label_names)
        return _filled(page, ((key, child.value) for key, child in self.children.items()))

    def _child(self) -> GaugeChild:
        return GaugeChild()


class Histogram(Metric[HistogramChild]):
    """Samples by bucket."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, *labels: str, buckets: tuple[float, ...], place: Place = "any") -> None:
        self.buckets = buckets
        super().__init__(name, meaning, *labels, place=place)

    def observe(self, value: float) -> None:
        """Without labels."""
        self.labels().observe(value)

    def family(self) -> Family:
        page = HistogramMetricFamily(self.name, self.meaning, labels=self.label_names)
        for key, child in self.children.items():
            page.add_metric(key, _cumulated(self.buckets, child.counts), sum_value=child.sum)
        return page

    def _child(self) -> HistogramChild:
        return HistogramChild(self.buckets)


def _filled(
    page: CounterMetricFamily | GaugeMetricFamily, series: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily | GaugeMetricFamily:
    for key, value in series:
        page.add_metric(key, value)
    return page


def _cumulated(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    found, total = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
