"""The minimum vertex cut against trying all sets."""
from itertools import combinations

from hypothesis import given, strategies as st
from ringflow.graph.passes.fusion.min_cut import minimum_cut


@st.composite
def graphs(draw):
    """Nodes 0..n-1; the parts of each lie before it, None where it must be read; what each costs; the wanted nodes."""
    n = draw(st.integers(1, 8))
    parts = [draw(st.one_of(st.none(), st.lists(st.integers(0, i - 1), max_size=3, unique=True) if i else st.just([])))
             for i in range(n)]
    costs = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    return parts, costs, draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))


def follows(node, known, parts):
    return node in known or (parts[node] is not None and all(follows(p, known, parts) for p in parts[node]))


@given(graphs())
def test_the_cut_suffices_and_none_is_cheaper(case):
    parts, costs, wanted = case
    cut = minimum_cut(wanted, lambda n: parts[n], lambda n: costs[n])
    assert all(follows(n, cut, parts) for n in wanted)
    for size in range(len(parts) + 1):
        for other in combinations(range(len(parts)), size):
            cheaper = sum(costs[n] for n in other) < sum(costs[n] for n in cut)
            assert not (cheaper and all(follows(n, set(other), parts) for n in wanted))


def test_the_nearest_of_equal_cuts_is_taken():
    chain = {"z": ["y"], "y": ["x"], "x": None}
    assert minimum_cut(["z"], chain.get) == {"z"}
    assert minimum_cut(["z", "y"], chain.get) == {"y"}
