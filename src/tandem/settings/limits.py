"""Settings of how much one client may ask of the front door: sizes, counts, times. One table for all of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Limits of what clients send and of how slow they may be. YAML section `Frontend`.

    Single fields have bounds of their own, which `/openapi.json` tells: a stop string has 1024 characters at most.
    """

    max_header_bytes: int = 32 * 1024
    """Largest request target and headers together. Bytes; larger ones get 431."""

    max_headers: int = 100
    """Headers of a request; more get 431."""

    header_timeout_s: float = 10.0
    """How long the headers of a request may take to come, from their first byte on. Seconds; then 408."""

    max_body_bytes: int = 16 * 1024 * 1024
    """Largest request body. Bytes; a larger one gets 413 before it is read. A 131k-token prompt is under 1 MB."""

    body_timeout_s: float = 60.0
    """How long a whole body may take to come. Seconds; then 408. 16 MiB in a minute are 2.2 Mbit/s."""

    send_timeout_s: float = 60.0
    """How long a client may read nothing while there is something to read. Seconds; then its connection is cut."""

    max_inflight: int = 1024
    """Requests served at once, over all processes of one `--workers`; from there on 429 with Retry-After. Bounds
    memory: a request holds its body and a stream. Requests with a priority above 0 (less urgent) get three quarters
    of it, those below 0 a quarter more."""

    max_waiting: int = 256
    """Sequences that wait in each decode worker, on average, from which on requests get 429. As with `max-inflight`,
    less urgent ones are sent away earlier, more urgent ones later."""

    max_json_depth: int = 128
    """Objects and lists inside each other, in a body. A schema may have 64 levels, in a tool in a request."""

    max_messages: int = 4096
    """Messages (or input items) of a request. Conversations of agents have hundreds."""

    max_tools: int = 512
    """Tools of a request."""

    max_prompts: int = 256
    """Prompts of a plain completion."""

    max_n: int = 128
    """Answers of a request (`n`, `best_of`). Each holds KV blocks of its own."""

    max_stop: int = 64
    """Stop strings of a request. OpenAI has 4; every token's text is searched for each."""

    max_schema_bytes: int = 64 * 1024
    """A schema, of the answer or of a tool's parameters, as JSON. Bytes. 64 KiB with 2000 properties take an engine
    3 seconds to compile."""

    max_schema_patterns: int = 64
    """Regular expressions in one schema. An engine takes more than 12 seconds for 300 alternatives that have one."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = [
            f"{name.replace('_', '-')} must be at least 1"
            for name in self.__slots__
            if name.startswith("max_") and getattr(self, name) < 1
        ]
        faults += [
            f"{name.replace('_', '-')} must be above 0"
            for name in self.__slots__
            if name.endswith("_s") and getattr(self, name) <= 0
        ]
        if self.max_header_bytes < 1024:
            faults.append("max-header-bytes must be at least 1024")
        return faults
