"""What an engine says of itself at every step: load and KV transfers. vLLM calls `record`; anyone may read."""

from typing import Any

from tandem.engines.ports import TransferTotals


class EngineStats:
    """The last figures of each data-parallel rank, and sums of the transfer counters."""

    def __init__(self) -> None:
        self._last: dict[int, Any] = {}
        self._kv_bytes = 0
        self._transfers = 0
        self._failures = 0
        self._seconds = 0.0

    def record(self, scheduler_stats: Any, engine_index: int) -> None:
        if scheduler_stats is None:
            return
        self._last[engine_index] = scheduler_stats
        connector = getattr(scheduler_stats, "kv_connector_stats", None)
        if connector:
            self._add(connector)

    @property
    def waiting(self) -> int:
        """Requests that the engine has not begun, for want of room or of KV from a peer."""
        return sum(
            stats.num_waiting_reqs + getattr(stats, "num_skipped_waiting_reqs", 0) for stats in self._last.values()
        )

    @property
    def kv_usage(self) -> float:
        """Share of the cache in use, 0..1, averaged over the ranks."""
        return sum(stats.kv_cache_usage for stats in self._last.values()) / len(self._last) if self._last else 0.0

    def transfer_totals(self) -> TransferTotals:
        return TransferTotals(
            kv_bytes=self._kv_bytes, transfers=self._transfers, failures=self._failures, seconds=self._seconds
        )

    def _add(self, connector: Any) -> None:
        data = getattr(connector, "data", connector)
        if "bytes_transferred" not in data:  # several connectors in one: figures by the connector's name
            for part in data.values():
                if isinstance(part, dict) or hasattr(part, "data"):
                    self._add(part)
            return
        self._kv_bytes += int(sum(data["bytes_transferred"]))
        self._transfers += len(data["bytes_transferred"])
        self._seconds += float(sum(data.get("transfer_duration", ())))
        self._failures += len(data.get("num_failed_transfers", ())) + len(data.get("num_failed_handshakes", ()))


def stat_logger(stats: EngineStats) -> Any:
    """A factory of the kind that vLLM takes in `stat_loggers`."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Recorder(StatLoggerBase):  # type: ignore[misc]
        """Keeps the figures; prints nothing."""

        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            self._index = engine_index

        def record(self, scheduler_stats: Any, iteration_stats: Any, *args: Any, **kwargs: Any) -> None:
            stats.record(scheduler_stats, self._index)

        def log_engine_initialized(self) -> None:
            """Nothing to say."""

    return Recorder
