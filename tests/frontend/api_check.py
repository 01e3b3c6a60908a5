"""Schemathesis with all its checks, against a live server; and what it covered."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema


@dataclass
class Coverage:
    """What a run did."""

    all_operations: set[str] = field(default_factory=set)
    operations: Counter[str] = field(default_factory=Counter)
    """Requests per operation that were sent to it."""
    statuses: Counter[int] = field(default_factory=Counter)
    declared: set[str] = field(default_factory=set)
    """`operation field` of every field of a body that the document declares, at any depth."""
    sent: set[str] = field(default_factory=set)
    """Those that were sent at least once."""
    accepted: set[str] = field(default_factory=set)
    """Those that were sent at least once in a request that was answered with 2xx."""
    checks: Counter[str] = field(default_factory=Counter)
    beyond_schema: Counter[str] = field(default_factory=Counter)
    """Requests that their schema allows and that were refused for a reason that no schema can say."""
    failures: list[str] = field(default_factory=list)
    """One of each kind."""
    kinds: set[tuple[str, str, str]] = field(default_factory=set)

    def lines(self) -> list[str]:
        """For a person."""
        used = self.sent & self.declared
        return [
            f"{sum(self.operations.values())} requests, statuses {dict(sorted(self.statuses.items()))}",
            f"operations covered: {len(self.operations)}: {', '.join(sorted(self.operations))}",
            f"fields covered: {len(used)} of {len(self.declared)} sent, {len(self.accepted & self.declared)} accepted",
            *([f"never sent: {', '.join(sorted(self.declared - used))}"] if self.declared - used else []),
            f"checks: {', '.join(f'{name} {count}' for name, count in sorted(self.checks.items()))}",
            f"refused for reasons beyond a schema: {dict(self.beyond_schema.most_common())}",
            f"failures: {len(self.failures)}",
        ]


BEYOND_SCHEMA = re.compile(
    "|".join(
        [
            # It depends on the model: its context, vocabulary, template, engine.
            r"the model takes \d+|may not hold .*; this model takes",
            r"outside the vocabulary|is no token id",
            r"simulated engine writes words without sense and in no form",
            # Two values are compared.
            r"is more than the \d+ tokens allowed|must be below max_tokens|best_of \d+ must be n",
            r"is not in tools|there is another tool|answers no tool_use|a tool_use needs its tool_result",
            r"constrains the answer already",
            r"results of calls come before texts|its signature does not fit",
            # A chat's `tool_choice` that needs `tools`: a schema can say it, and then nothing is generated any more.
            r"tool_choice needs tools",
            # A text that holds JSON.
            r"is not JSON:|must be JSON of an object",
            # Names of a form's fields stand in headers.
            r"the headers of a part are not valid",
            # A limit that is a setting.
            r"has \d+ \w+; a request may have|the form has more than \d+ fields",
            # A name that stands anywhere, also in fields that nobody knows.
            r"[.\]]\.?kv_transfer_params is not taken here",
        ]
    )
)
"""Why a request may be refused that its schema allows: what no schema can say. Everything else is a fault of one."""

MODEL = "tiny"
"""What is served."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Nobody guesses a model's name, and where one must be named, nothing else would be looked at."""
    if isinstance(case.body, dict) and isinstance(name := case.body.get("model"), str) and 0 < len(name) <= 256:
        case.body["model"] = MODEL


def run_checks(
    url: str, *, key: str, max_examples: int | None, seconds_each: int, only: str = "", seed: int = 1
) -> Coverage:
    """All checks over the operations at `url` that match `only`: every keyword, then `max_examples` random requests."""
    config = SchemathesisConfig(seed=seed, max_time=seconds_each)
    project = config.projects.default
    project.generation.deterministic = False
    project.generation.database = "none"
    project.generation.allow_extra_parameters = False  # HTTP lets everybody send headers of their own
    project.generation.max_examples = max_examples
    project.generation.no_shrink = True
    project.continue_on_failure = True
    project.request_timeout = 20.0
    project.headers = {"Authorization": f"Bearer {key}"}
    project.phases.fuzzing.enabled = max_examples is not None
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    coverage, document = Coverage(), schema.raw_schema
    for label, names in declared_fields(document):
        if re.search(only, label):
            coverage.declared.update(f"{label} {name}" for name in names)
    for path, methods in document["paths"].items():
        for method in methods:
            if not re.search(only, f"{method.upper()} {path}"):
                continue
            coverage.all_operations.add(f"{method.upper()} {path}")
            for event in from_schema(schema.include(path=path, method=method.upper())).execute():
                if isinstance(event, events.NonFatalError):
                    coverage.failures.append(f"{event.label}: {event.info.format()}")
                if isinstance(event, events.ScenarioFinished):
                    _note(event, coverage)
    return coverage


def _note(event: events.ScenarioFinished, coverage: Coverage) -> None:
    for case_id, interaction in event.recorder.interactions.items():
        case = event.recorder.cases[case_id].value
        response = interaction.response
        if response is None:
            continue
        coverage.operations[case.operation.label] += 1
        coverage.statuses[response.status_code] += 1
        names = {f"{case.operation.label} {name}" for name in fields_in(case.body)} if case.body is not None else set()
        coverage.sent |= names
        if response.status_code < 300:
            coverage.accepted |= names
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            coverage.checks[check.name] += 1
            if check.failure_info is not None:
                case = event.recorder.cases[case_id].value
                response = event.recorder.interactions[case_id].response
                said = response.content[:600].decode(errors="replace") if response else ""
                if check.name == "positive_data_acceptance" and (reason := BEYOND_SCHEMA.search(said)):
                    coverage.beyond_schema[re.sub(r"\d+", "N", reason[0])] += 1
                    continue
                if check.name == "negative_data_rejection" and _leaves_a_part_out(case):
                    coverage.beyond_schema["an empty list is no part of a form"] += 1
                    continue
                kind = (case.operation.label, check.name, re.sub(r"[-\d.]+|'[^']*'", "…", said))
                if kind in coverage.kinds:
                    continue
                coverage.kinds.add(kind)
                coverage.failures.append(
                    f"{case.operation.label}: {check.name}: {check.failure_info.failure}\n"
                    f"    sent: {case.headers} {str(case.body)[:1500]}\n"
                    f"    got: {response and response.status_code} {said}"
                )


def _leaves_a_part_out(case: Any) -> bool:
    """Whether what is wrong in a form does not travel: a list is sent as a part for each of its items."""
    form = case.media_type == "multipart/form-data" and isinstance(case.body, dict)
    return form and any(value == [] for value in case.body.values())


def fields_in(body: Any, prefix: str = "") -> Iterator[str]:
    """Names of the fields of a body: `messages[].role`."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield prefix + str(name)
            yield from fields_in(value, f"{prefix}{name}.")
    elif isinstance(body, list):
        for value in body:
            yield from fields_in(value, prefix.rstrip(".") + "[].")


def declared_fields(document: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """Every operation with the names of its body's fields."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                yield f"{method.upper()} {path}", set(_names(document, media["schema"], "", ()))


def _names(document: Mapping[str, Any], schema: Any, prefix: str, inside: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    if (ref := schema.get("$ref")) is not None:
        if ref not in inside:
            yield from _names(document, resolved(document, ref), prefix, (*inside, ref))
        return
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _names(document, each, prefix, inside)
    for name, each in schema.get("properties", {}).items():
        yield prefix + name
        yield from _names(document, each, f"{prefix}{name}.", inside)
    if "items" in schema:
        yield from _names(document, schema["items"], prefix.rstrip(".") + "[].", inside)


def resolved(document: Mapping[str, Any], ref: str) -> Any:
    """What a reference stands for."""
    found: Any = document
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    return found
