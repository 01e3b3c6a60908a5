"""YAML that people write: safe types only, and no key twice."""

from collections.abc import Iterator
from typing import Any

import yaml

from tandem.errors import ConfigError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


Lines = dict[tuple[str, ...], int]
"""Where keys stand, by their path as it was written. Lines count from 1."""
_DEEPEST_LINE = 3
_DEEPEST = 100
_REMEDIES = {
    "cannot start any token": "; indent with spaces, not tabs, and put such text in quotes",
    "flow sequence": "; a list ends with ]",
    "flow mapping": "; a mapping in braces ends with }",
    "quoted scalar": "; text in quotes ends with the same quote",
    "mapping values are not allowed": "; put text with a colon in quotes",
    "block mapping": "; keys of one mapping are indented alike",
    "could not determine a constructor": "; plain values only, without tags",
    "another document": "; one file holds one document",
    "unhashable key": "; a key is plain text",
}
"""By a part of what PyYAML says."""


def read_yaml(text: str, origin: str) -> Any:
    """The document in `text`, None when it is empty; `origin` is how messages call it.

    Raises:
        ConfigError: it is not YAML, holds itself, or a key stands twice: most readers keep the last without a word.
    """
    return read_yaml_and_lines(text, origin)[0]


def read_yaml_and_lines(text: str, origin: str) -> tuple[Any, Lines]:
    """The same, and where the keys of the upper mappings stand."""
    try:
        _check_depth(text, origin)
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
            faults = [] if node is None else list(_faults(node, "", {}))
            if not faults:
                return (None, {}) if node is None else (loader.construct_document(node), dict(_lines(node, ())))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {_why(error)}") from error
    except ValueError as error:  # of a value that looks like a date and is none
        raise ConfigError(f"{origin}: a value does not read ({error}); put text in quotes") from error
    raise ConfigError("\n".join(f"{origin}: {fault}" for fault in faults))


def _check_depth(text: str, origin: str) -> None:
    """Refuse what those who read it by recursion would not survive: libyaml's own composer ends the process."""
    depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = event.start_mark.line + 1
            raise ConfigError(f"{origin}: line {line}: more than {_DEEPEST} mappings and lists, one in another")


def _faults(node: yaml.Node, path: str, seen: dict[int, bool]) -> Iterator[str]:
    """Each key that its mapping has already, and each alias of what it stands in; an alias is looked at once.

    Args:
        seen: nodes by identity, and whether we are within them.
    """
    if id(node) in seen:
        if seen[id(node)]:
            yield f"{path} on line {node.start_mark.line + 1} leads back into itself; write out what is meant"
        return
    seen[id(node)] = True
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _faults(item, f"{path}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            below = path
            if isinstance(key, yaml.ScalarNode):
                below = f"{path}.{key.value}" if path else key.value
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    yield f"{below} stands on line {lines[name]} and again on line {line}; keep one"
                lines.setdefault(name, line)
            yield from _faults(value, below, seen)
    seen[id(node)] = False


def _lines(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if not isinstance(node, yaml.MappingNode) or len(path) >= _DEEPEST_LINE:
        return
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))


def _why(error: yaml.YAMLError) -> str:
    """PyYAML's several lines as one sentence, with the place that it means and, where it is plain, the remedy."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error).splitlines()[0]
    problem, context, begun = error.problem, error.context or "", error.context_mark  # type: ignore[attr-defined]
    words = problem
    if problem.startswith("but "):
        words = f"{context}, {problem}"
    elif begun is not None and (begun.line, begun.column) != (mark.line, mark.column) and context:
        words += f", {context} that begins on line {begun.line + 1}"
    remedy = next((remedy for part, remedy in _REMEDIES.items() if part in f"{context} {problem}"), "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {words}{remedy}"
