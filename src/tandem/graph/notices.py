"""What `tandem serve` says of its processes. Pure: the supervisor prints it."""

import signal

from tandem.graph.control import State


def log_levels(levels: str, verbosity: int) -> str:
    """`-v` and `-q` move the default level by one."""
    order = ["error", "warning", "info", "debug"]
    first, _, rest = levels.partition(",")
    if verbosity and first in order:
        first = order[min(max(order.index(first) + verbosity, 0), len(order) - 1)]
    return f"{first},{rest}" if rest else first


def status_text(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def curl_line(state: State) -> str:
    """How to ask at a front door."""
    model = state.models[0] if state.models else "MODEL"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}], "max_tokens": 100}}'
    return f"curl {state.door}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"


def phase_text(state: State, took_s: float, *, was_ready: bool, was_degraded: bool) -> str | None:
    """How far a process is; None where nobody needs to be told. What was ready and is so again is no news."""
    match state.phase:
        case "loading" | "connecting":
            return state.phase
        case "waiting":
            return f"waiting: {state.note}"
        case "ready" if state.degraded:
            return f"degraded: {state.note}"
        case "ready" if not was_ready or was_degraded:
            return f"ready after {took_s:.1f} s"
        case _:
            return None
