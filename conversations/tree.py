"""The conversation's tree: paths, siblings, newest leaves. Pure."""

from collections import defaultdict
from collections.abc import Iterable


class Tree:
    """Built from (id, parent id) pairs in order of age; ids grow with age."""

    def __init__(self, pairs: Iterable[tuple[int, int | None]]) -> None:
        self._parents: dict[int, int | None] = {}
        self._children: dict[int | None, list[int]] = defaultdict(list)
        for node, parent in pairs:
            self._parents[node] = parent
            self._children[parent].append(node)

    def path(self, leaf: int | None) -> list[int]:
        """From the root to `leaf`; empty for an unknown one."""
        nodes: list[int] = []
        node = leaf if leaf in self._parents else None
        while node is not None:
            nodes.append(node)
            node = self._parents[node]
        nodes.reverse()
        return nodes

    def siblings(self, node: int) -> list[int]:
        """The versions at this place, oldest first, `node` among them."""
        return self._children[self._parents[node]]

    def newest_leaf(self, node: int) -> int:
        """The end of the branch one sees when one goes to `node`: always the newest child."""
        while self._children.get(node):
            node = self._children[node][-1]
        return node
