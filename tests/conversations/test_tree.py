"""Paths, siblings and newest leaves of the conversation's tree."""

from hypothesis import given
from hypothesis import strategies as st

from conversations.tree import Tree

#        1          5
#      /   \
#     2     4
#     |
#     3
PAIRS = [(1, None), (2, 1), (3, 2), (4, 1), (5, None)]


def test_the_path_goes_from_the_root_to_the_leaf() -> None:
    tree = Tree(PAIRS)
    assert tree.path(3) == [1, 2, 3]
    assert tree.path(4) == [1, 4]
    assert tree.path(5) == [5]


def test_nothing_and_the_unknown_have_no_path() -> None:
    assert Tree(PAIRS).path(None) == Tree(PAIRS).path(99) == Tree([]).path(1) == []


def test_siblings_stand_in_order_of_age() -> None:
    tree = Tree(PAIRS)
    assert tree.siblings(4) == tree.siblings(2) == [2, 4]
    assert tree.siblings(3) == [3]
    assert tree.siblings(1) == [1, 5]


def test_the_newest_leaf_follows_the_newest_children() -> None:
    tree = Tree(PAIRS)
    assert tree.newest_leaf(1) == 4
    assert tree.newest_leaf(2) == 3
    assert tree.newest_leaf(5) == 5


@given(st.lists(st.integers(min_value=0, max_value=10**6), max_size=60))
def test_every_node_of_any_tree_is_on_the_path_to_its_newest_leaf(choices: list[int]) -> None:
    pairs: list[tuple[int, int | None]] = []
    for number, choice in enumerate(choices, start=1):
        parent = choice % number
        pairs.append((number, parent or None))
    tree = Tree(pairs)
    for node, above in pairs:
        path = tree.path(tree.newest_leaf(node))
        assert node in path
        assert path == sorted(path)
        assert node in tree.siblings(node)
        assert tree.path(node)[-2:-1] == ([above] if above else [])
