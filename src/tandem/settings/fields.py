"""What the fields of a settings dataclass say about themselves: key, type, default, environment name, prose.

`setting()` declares a field; `fields_of()` reads a class back, its docstrings included, for the resolver
and for the reference page.
"""

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting. Its prose is `field_docs(cls)[name]`, read from the source only where it is shown."""

    name: str
    """The Python name; also the normalised key (dashes are underscores)."""
    type: Any
    default: Any
    env: tuple[str, ...]
    """Environment variables that set it, the first one that is there wins."""
    aliases: tuple[str, ...]
    """Other keys that mean the same, normalised."""
    secret: bool
    address: bool
    """Addresses that may have a user and a password in them: shown without."""

    @property
    def key(self) -> str:
        """The key as YAML spells it."""
        return self.name.replace("_", "-")


def setting(
    default: Any,
    *,
    env: str | tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    secret: bool = False,
    address: bool = False,
) -> Any:
    """A field with a default. `env` names the variables that set it; a `secret` is never printed, an `address` without
    its user and password."""
    names = (env,) if isinstance(env, str) else env
    return dataclasses.field(
        default=default, metadata={"env": names, "aliases": aliases, "secret": secret, "address": address}
    )


def normalise(key: str) -> str:
    """`Max-Model_len` and `max-model-len` are one key: dashes are underscores. Case stays."""
    return key.strip().replace("-", "_")


def fields_of(cls: type[Any]) -> tuple[SettingField, ...]:
    """The fields of a settings dataclass, in order."""
    hints = typing.get_type_hints(cls)
    return tuple(
        SettingField(
            name=f.name,
            type=hints[f.name],
            default=f.default,
            env=f.metadata.get("env", ()),
            aliases=f.metadata.get("aliases", ()),
            secret=f.metadata.get("secret", False),
            address=f.metadata.get("address", False),
        )
        for f in dataclasses.fields(cls)
    )


def field_docs(cls: type[Any]) -> dict[str, str]:
    """The string under each field, read from the class's source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    docs: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docs[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return docs
