"""Valid PromQL of every shape, for properties. What it makes, Prometheus 2.42 and promql-parser both accept."""

import re

from gatewayz_metrics.promql.matchers import quote
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Tokens = tuple[str, ...]

# Names that are keywords elsewhere come as often as plain ones. A label `or` is missing: promql-parser
# refuses it, so a table asks the engine.
METRICS = [
    "up",
    "http_requests_total",
    "job:rate5m",
    "by",
    "sum",
    "offset",
    "start",
    "end",
    "without",
    "Inf_total",
    "_",
]
LABELS = ["job", "code", "by", "on", "sum", "bool", "offset", "start", "group_left", "inf", "le"]
PATTERNS = ["", ".*", "5..", "(a|b)", r"10\.0\.0\.1:9090", "[^a-z]{2,3}", r"\d+", "ü+"]
DURATIONS = ["5m", "1h30m", "90s", "1d", "250ms", "2w", "1y1w1d1h1m1s1ms"]
NUMBERS = ["0", "1", "1.5", ".5", "5.", "1e3", "2.5e-3", "0x1F", "Inf", "NaN", "inf", "010"]
SPACES = ["", " ", "  ", "\n", "\t", "\r\n", " # it's {a} `(\n", "#\n"]

_GLUED = re.compile(r"[\w:.]")


def examples(count: int) -> settings:
    """How often a property is tried; a busy machine makes an example slow, not wrong."""
    # Engines outlive the examples on purpose.
    unchecked = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, deadline=None, suppress_health_check=unchecked)


def _one(*choices: str) -> st.SearchStrategy[Tokens]:
    return st.sampled_from(choices).map(lambda text: (text,))


def _row(*parts: "st.SearchStrategy[Tokens] | str") -> st.SearchStrategy[Tokens]:
    """Parts one after the other; a string stands for itself."""
    return st.tuples(*(st.just((part,)) if isinstance(part, str) else part for part in parts)).map(
        lambda found: tuple(token for part in found for token in part)
    )


def _maybe(*parts: "st.SearchStrategy[Tokens] | str") -> st.SearchStrategy[Tokens]:
    return st.one_of(st.just(()), _row(*parts))


def _listed(items: st.SearchStrategy[Tokens], *, least: int = 0, most: int = 3) -> st.SearchStrategy[Tokens]:
    """Items with commas between them, and sometimes one after the last."""

    def joined(found: tuple[list[Tokens], bool]) -> Tokens:
        tokens = tuple(token for item in found[0] for token in (*item, ","))
        return tokens if found[1] else tokens[:-1]

    return st.tuples(st.lists(items, min_size=least, max_size=most), st.booleans()).map(joined)


def _quoted(text: str) -> st.SearchStrategy[Tokens]:
    forms = [quote(text)]
    # promql-parser takes a raw string's backslash for an escape; a table asks the engine about those.
    if not set(text) & set("`\\\r\n\ufffd"):
        forms.append(f"`{text}`")
    if not set(text) & set("'\"\\\n\ufffd"):
        forms.append(f"'{text}'")
    return _one(*forms)


VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
STRINGS = VALUES.flatmap(_quoted)
_MATCHER = st.one_of(
    _row(_one(*LABELS), _one("=", "!="), STRINGS),
    _row(_one(*LABELS), _one("=~", "!~"), st.sampled_from(PATTERNS).flatmap(_quoted)),
)
_BRACES = _row("{", _listed(_MATCHER), "}")
_QUOTED_LABEL = _row(VALUES.filter(bool).map(quote).map(lambda text: (text,)), _one("=", "!="), STRINGS)
SELECTORS = st.one_of(
    _one(*METRICS),
    _row(_one(*METRICS), _BRACES),
    _row("{", 'job!=""', _maybe(",", _listed(_MATCHER, least=1)), "}"),
    _row("{", '__name__=~"up|x"', _maybe(","), "}"),
)
_LABEL_LIST = _row("(", _listed(_one(*(label for label in LABELS if label != "inf"))), ")")
_OFFSET = _row("offset", _maybe("-"), _one(*DURATIONS))
_AT = st.one_of(_row("@", _maybe("-"), _one("0", "1.5", "1760000000.123")), _row("@", _one("start", "end"), "(", ")"))
_MODIFIERS = st.one_of(st.just(()), _OFFSET, _AT, _row(_OFFSET, _AT), _row(_AT, _OFFSET))
_RANGE = _one("[5m]", "[ 1h30m ]", "[90s]")
_SUBQUERY = _one("[1h:5m]", "[30m:]", "[ 1h : 1m30s ]")


def _vectors(vectors: st.SearchStrategy[Tokens]) -> st.SearchStrategy[Tokens]:
    scalars = st.one_of(
        _one(*NUMBERS),
        _row("-", _one(*NUMBERS)),
        _row("scalar", "(", vectors, ")"),
        _row("time", "(", ")"),
        _row("(", _one(*NUMBERS), _one("+", "-", "*", "/", "%", "^"), _one(*NUMBERS), ")"),
    )
    ranges = st.one_of(
        _row(SELECTORS, _RANGE, _MODIFIERS), _row("(", vectors, ")", _SUBQUERY, _MODIFIERS), _row(SELECTORS, _SUBQUERY)
    )
    bodies = {
        "sum": _row("(", vectors, ")"),
        "topk": _row("(", scalars, ",", vectors, ")"),
        "count_values": _row("(", '"code"', ",", vectors, ")"),
    }
    names = {
        "sum": ["sum", "AVG", "count", "min", "group"],
        "topk": ["topk", "quantile"],
        "count_values": ["count_values"],
    }
    grouping = _row(_one("by", "without", "BY"), _LABEL_LIST)
    aggregations = [
        st.one_of(_row(_one(*names[kind]), _maybe(grouping), body), _row(_one(*names[kind]), body, grouping))
        for kind, body in bodies.items()
    ]
    matching = _row(_one("on", "ignoring"), _LABEL_LIST)
    # Without a list of its own, group_left would take the parenthesis of an operand for one.
    included = _row("(", _maybe("code"), ")")
    many = _row(_one("on", "ignoring"), "(", "job", ")", _one("group_left", "group_right"), included)
    return st.one_of(
        *aggregations,
        _row(_one("rate", "increase", "max_over_time", "absent_over_time"), "(", ranges, ")"),
        _row("quantile_over_time", "(", scalars, ",", ranges, ")"),
        _row(_one("abs", "absent", "sort", "timestamp", "minute"), "(", vectors, ")"),
        _row("histogram_quantile", "(", scalars, ",", vectors, ")"),
        _row("label_replace", "(", vectors, ',"a","$1","b","(.*)"', ")"),
        _row("vector", "(", scalars, ")"),
        _row(vectors, _one("+", "-", "*", "/", "%", "^", "atan2"), st.one_of(_maybe(matching), many), vectors),
        _row(vectors, _one("==", "!=", "<", ">", "<=", ">="), _maybe("bool"), _maybe(matching), vectors),
        _row(vectors, _one("and", "or", "unless", "AND"), _maybe(matching), vectors),
        # A scalar next to `on` is an error, so these keep to themselves.
        _row("(", vectors, _one("*", ">", "<= bool"), scalars, ")"),
        _row("(", scalars, _one("/", "-"), vectors, ")"),
        _row("(", vectors, ")"),
        _row(_one("-", "+"), vectors),
    )


EXPRESSIONS = st.recursive(_row(SELECTORS, _MODIFIERS), _vectors, max_leaves=8)


def spaced(tokens: Tokens, spaces: list[str]) -> str:
    """The tokens with blanks between them, wherever two would otherwise become one."""
    text = ""
    for number, token in enumerate(tokens):
        space = spaces[number % len(spaces)]
        glued = text and _GLUED.match(text[-1]) and _GLUED.match(token[0])
        text += (space or " " if glued else space) + token
    return text


_BLANKS = st.lists(st.sampled_from(SPACES), min_size=1, max_size=5)
QUERIES = st.builds(spaced, EXPRESSIONS, _BLANKS).filter(lambda text: len(text) < 2000)

# Lists of matchers as people write them: with or without braces and commas, in any quotes, with blanks.
_LIST = _listed(st.one_of(_MATCHER, _QUOTED_LABEL), least=1)
MATCHER_LISTS = st.builds(
    spaced,
    st.one_of(_LIST, _row("{", _LIST, "}")),
    st.lists(st.sampled_from([space for space in SPACES if "#" not in space]), min_size=1, max_size=5),
)


# Queries with something wrong: a token lost, doubled, moved or slipped in.
_STRANGE = st.sampled_from(
    [
        *METRICS,
        *LABELS,
        *"(){}[],:@-=!$\\",
        '"',
        "'",
        "`",
        "#",
        "x{a=`",
        "}",
        '"x"',
        "5m",
        "1",
        "and",
        "bool",
        "$x",
        "\r",
        "é",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A query that may or may not be valid still."""
    tokens = list(draw(EXPRESSIONS))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(tokens) - 1))
        strange = draw(_STRANGE)
        change = draw(st.sampled_from(["drop", "double", "swap", "insert", "replace"]))
        if change == "drop" and len(tokens) > 1:
            del tokens[at]
        elif change == "double":
            tokens.insert(at, tokens[at])
        elif change == "swap":
            tokens[at], tokens[-1 - at] = tokens[-1 - at], tokens[at]
        elif change == "insert":
            tokens.insert(at, strange)
        else:
            tokens[at] = strange
    return spaced(tuple(tokens), draw(_BLANKS))[:2000]


# Any text, leaning towards the characters that matter.
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("\"'`\\#\r\n {}[]()=~!,:@$ab15m.é_"), max_size=60),
    damaged(),
)
