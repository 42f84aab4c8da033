"""What the builder makes of what a user chose, read back."""

import pytest
from gatewayz_metrics.json_datasource.payload import Payload, chosen_matchers
from hypothesis import given
from hypothesis import strategies as st

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def regex_format(text: str) -> str:
    """A value as Grafana's `regex` format writes it."""
    return "".join(f"\\{each}" if each in r"\^$*+?.()|[]{}/" else each for each in text)


SPELLINGS: list[tuple[object, tuple[str, ...]]] = [
    (["a", "b"], ("a", "b")),
    ("(a|b)", ("a", "b")),
    ("a|b", ("a", "b")),
    ("a,b", ("a", "b")),
    ("a", ("a",)),
    (["(a|b)"], ("a", "b")),
    (["(10\\.0\\.0\\.1:9090|10\\.0\\.0\\.2:9090)"], ("10.0.0.1:9090", "10.0.0.2:9090")),
    ("(x\\|y|z)", ("x|y", "z")),
    (["a,b"], ("a,b",)),  # one value that holds a comma
    ([" a "], (" a ",)),
    (["\u2028"], ("\u2028",)),
    ("a, b", ("a", "b")),
    (5, ("5",)),
    ([5, None, {}, "5"], ("5",)),
    ("", ()),
    ([], ()),
    (None, ()),
    ("[object Object]", ()),
    ({"a": 1}, ()),
]


@pytest.mark.parametrize(("value", "expected"), SPELLINGS, ids=[repr(value) for value, _ in SPELLINGS])
def test_lists_in_every_spelling(value: object, expected: tuple[str, ...]) -> None:
    assert Payload.of({"x": value}).several("x") == expected


values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=", "), min_size=1)


@given(st.lists(values, min_size=2, max_size=4, unique=True))
def test_several_values_of_a_variable_come_back(found: list[str]) -> None:
    written = f"({'|'.join(map(regex_format, found))})"

    assert Payload.of({"x": written}).several("x") == tuple(found)
    assert Payload.of({"x": [written]}).several("x") == tuple(found)


@pytest.mark.parametrize(("text", "flag"), [("true", True), (True, True), ("1", True), ("FALSE", False), (0, False)])
def test_flags(text: object, flag: bool) -> None:
    assert Payload.of({"x": text}).flag("x") is flag


@pytest.mark.parametrize(
    ("text", "ms"), [("30s", 30_000), ("1h30m", 5_400_000), ("5", 5000), (0.5, 500), ("250ms", 250)]
)
def test_durations(text: object, ms: int) -> None:
    assert Payload.of({"x": text}).duration_ms("x") == ms


@pytest.mark.parametrize("value", [None, "", {}, [], "[object Object]"])
def test_absent_is_absent(value: object) -> None:
    payload = Payload.of({"x": value})

    assert (payload.text("x", "default"), payload.flag("x"), payload.duration_ms("x")) == ("default", None, None)


@given(json_values)
def test_no_payload_breaks_anything(value: object) -> None:
    payload = Payload.of({"x": value} if not isinstance(value, dict) else value)

    for name in payload.values:
        assert isinstance(payload.text(name), str)
        assert all(isinstance(each, str) for each in payload.several(name))


CHOSEN: list[tuple[object, str]] = [
    ({"job": "api"}, 'job="api"'),
    ({"job": ["api", "w.b"]}, r'job=~"api|w\\.b"'),
    ({"job": ".*"}, ""),
    ({"job": ["$__all"]}, ""),
    ({"job": ".+"}, 'job=~".+"'),
    ({"job": 'a"b\\c'}, r'job="a\"b\\c"'),
    ({"other": "x"}, ""),
    ({"format": "table", "filters": {"format": "table"}}, 'format="table"'),
    ({"filters": {"any": "x", "job": ["a", "b"]}}, 'any="x",job=~"a|b"'),
    ({"filters": [{"key": "any", "operator": "!~", "value": "x.*"}]}, 'any!~"x.*"'),
]


@pytest.mark.parametrize(("payload", "matchers"), CHOSEN, ids=[str(payload) for payload, _ in CHOSEN])
def test_label_filters(payload: object, matchers: str) -> None:
    assert chosen_matchers(Payload.of(payload), ["job", "format"]) == matchers
