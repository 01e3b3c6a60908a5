"""Which services a graph starts. Pure.

Links prune: a service that occurs in any link keeps only the dependencies it is linked to, so a chain's
last service starts nothing more. Without any link nothing is pruned.
"""

from collections.abc import Mapping, Sequence


def prune(dependencies: Mapping[str, Sequence[str]], links: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """What each service starts and calls, after `links` have pruned `dependencies`.

    A link to a service that is no declared dependency counts as one: whoever links it means to have it.
    """
    in_links = {name for link in links for name in link}
    return {
        name: tuple(dict.fromkeys(b for a, b in links if a == name)) if name in in_links else tuple(declared)
        for name, declared in dependencies.items()
    }


def closure(entry: str, edges: Mapping[str, Sequence[str]]) -> list[str]:
    """`entry` and everything it needs, dependencies first, `entry` last."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for needed in edges.get(name, ()):
            visit(needed)
        order.append(name)

    visit(entry)
    return order
