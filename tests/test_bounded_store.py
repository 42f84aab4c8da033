from gatewayz_metrics.bounded_store import BoundedStore
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8000)), max_size=30))
def test_the_bound_holds_whatever_is_kept(puts: list[tuple[int, int]]) -> None:
    observed = [0.0]
    store: BoundedStore[int] = BoundedStore(20_000, 0.25, observed.append)
    for key, size in puts:
        kept = store.put(key, size, size)

        assert kept is (size <= 5000)
        assert store.get(key) == (size if kept else None)
        assert 0 <= store.size <= 20_000
        assert store.size == sum(store.get(other) or 0 for other in range(10)) == observed[-1]
    store.clear()
    assert store.size == len(store) == observed[-1] == 0


def test_what_was_used_longest_ago_goes_first() -> None:
    store: BoundedStore[str] = BoundedStore(400, 0.25)
    for key in "abcd":
        store.put(key, key, 100)
    store.get("a")
    store.put("e", "e", 100)

    assert [store.get(key) for key in "abcde"] == ["a", None, "c", "d", "e"]
