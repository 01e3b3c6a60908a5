"""YAML that people write: safe types only, and no key twice."""

from collections.abc import Iterator
from typing import Any

import yaml

from tandem.errors import ConfigError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str, origin: str) -> Any:
    """The document in `text`, None when it is empty; `origin` is how messages call it.

    Raises:
        ConfigError: it is not YAML, or a key stands twice in a mapping: most readers keep the last without a word.
    """
    try:
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
            twice = [] if node is None else list(_twice(node, "", set()))
            if not twice:
                return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date of the 13th month, and the like
        raise ConfigError(f"{origin} is not YAML: {_in_a_line(error)}") from error
    raise ConfigError("\n".join(f"{origin}: {fault}" for fault in twice))


def _in_a_line(error: Exception) -> str:
    """The reader's words take up to five lines, of which one names the place and one the trouble."""
    mark = getattr(error, "problem_mark", None)
    words = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {words}" if mark else words


def _twice(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    """Each key that its mapping has already; an alias is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _twice(item, f"{path}[{index}]", seen)
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
            yield from _twice(value, below, seen)
