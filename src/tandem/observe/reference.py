"""Writes docs/reference/metrics.md from the tables, or checks that it is up to date.

python -m tandem.observe.reference docs/reference/metrics.md [--check]
"""

import sys
from pathlib import Path
from typing import Any

from tandem.observe.instruments import Histogram, Metric, Place
from tandem.observe.metrics import TABLE
from tandem.observe.stages import STAGES

_PLACES: dict[Place, str] = {
    "front": "The front: HTTP, processor, router",
    "worker": "Workers: prefill, hand-off, engine",
    "any": "Any process",
}


_FAMILIAR = (
    "## By vLLM's names",
    "",
    "Workers also export what their engine counts itself, by vLLM's names with the labels `model_name` and `engine`:",
    "`vllm:num_requests_running`, `vllm:num_requests_waiting`, `vllm:kv_cache_usage_perc`,",
    "`vllm:time_to_first_token_seconds` and the others of its version. A simulated engine has the first three. With",
    "prefill and decode apart, vLLM's times are those of one engine; what a client waits is in the front's metrics.",
)


def page() -> str:
    """The whole page as Markdown."""
    lines = [
        "# Metrics and stages",
        "",
        "Made by `make docs` from `src/tandem/observe/metrics.py` and `stages.py`; do not edit. Every process serves",
        "its own metrics at `/metrics` on its system port. Times are seconds, memory is bytes.",
    ]
    for place, title in _PLACES.items():
        lines += ["", f"## {title}", "", "| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in TABLE if metric.place == place]
    lines += ["", *_FAMILIAR]
    lines += ["", "## Buckets", "", "| Metric | Upper bounds, seconds |", "|---|---|"]
    lines += [f"| `{m.name}` | {', '.join(f'{b:g}' for b in m.buckets)} |" for m in TABLE if isinstance(m, Histogram)]
    lines += ["", "## Stages of a request's story", "", "What `tandem trace REQUEST_ID` prints."]
    lines += ["", "| Stage | Meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in STAGES.items()]
    return "\n".join(lines) + "\n"


def _row(metric: Metric[Any]) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.label_names)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it: 1 when it is out of date."""
    check = "--check" in arguments
    target = Path(next(argument for argument in arguments if not argument.startswith("-")))
    if check:
        fresh = target.is_file() and target.read_text(encoding="utf-8") == page()
        if not fresh:
            print(f"{target} is out of date: run `python -m tandem.observe.reference {target}`", file=sys.stderr)  # noqa: T201
        return 0 if fresh else 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
