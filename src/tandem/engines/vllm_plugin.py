"""What vLLM needs on a CPU to run prefill and decode apart. vLLM calls `register` in each of its processes."""


def register() -> None:
    """Cures for the CPU platform."""
