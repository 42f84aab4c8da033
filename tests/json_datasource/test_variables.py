"""How variables ask: text in every form, and JSON payloads."""

import pytest
from gatewayz_metrics.json_datasource.variables import VariableQuery, parse_variable
from gatewayz_metrics.promql.macros import MacroContext
from gatewayz_metrics.promql.times import TimeRange
from hypothesis import given
from hypothesis import strategies as st

SPAN = MacroContext(TimeRange(0, 3_600_000, 15_000))

READ: list[tuple[object, VariableQuery | None]] = [
    ({"target": "label_values(job)"}, VariableQuery("label_values", label="job")),
    ({"target": "label_values(up, job)"}, VariableQuery("label_values", "up", "job")),
    ({"target": ' label_values( up{a="x,y"} , job ) '}, VariableQuery("label_values", 'up{a="x,y"}', "job")),
    ({"target": 'label_values({a="b",c=~"d|e"}, job)'}, VariableQuery("label_values", '{a="b",c=~"d|e"}', "job")),
    ({"target": r'label_values(up{i="10\.0"}, job)'}, VariableQuery("label_values", 'up{i="10.0"}', "job")),
    ({"target": r'label_values(up{i=~"(a\.b|c)"}, job)'}, VariableQuery("label_values", r'up{i=~"(a\\.b|c)"}', "job")),
    ({"target": "label_names()"}, VariableQuery("label_names")),
    ({"target": "metrics(http.*)"}, VariableQuery("metrics", text=".*(?:http.*).*")),
    ({"target": "metrics()"}, VariableQuery("metrics", text=".+")),
    ({"target": "query_result(topk(3, up))"}, VariableQuery("query_result", text="topk(3, up)")),
    ({"target": "query_result(rate(x[$__range]))"}, VariableQuery("query_result", text="rate(x[3600s])")),
    ({"target": "targets"}, VariableQuery("targets")),
    ("label_values(job)", VariableQuery("label_values", label="job")),
    ({"target": "label_values", "label": "i", "job": "api"}, VariableQuery("label_values", '{job="api"}', "i")),
    (
        {"target": "label_values", "label": "i", "metric": "up", "job": "(a|b)"},
        VariableQuery("label_values", 'up{job=~"a|b"}', "i"),
    ),
    # Labels beside a text narrow it as they do beside a name.
    (
        {"target": "label_values(model)", "provider": ["openai", "groq"]},
        VariableQuery("label_values", '{provider=~"openai|groq"}', "model"),
    ),
    ({"target": "label_values(up, i)", "job": "api"}, VariableQuery("label_values", 'up{job="api"}', "i")),
    ({"target": "label_values(up, i)", "job": ""}, VariableQuery("label_values", "up", "i")),
    ({"target": "label_names", "metric": "up"}, VariableQuery("label_names", "up")),
    ({"target": "query_result", "query": "up"}, VariableQuery("query_result", text="up")),
    ({"target": ""}, None),
    ({"target": None}, None),
    ({}, None),
    (None, None),
    ([1], None),
    (5, None),
]


@pytest.mark.parametrize(("payload", "wish"), READ, ids=[str(payload) for payload, _ in READ])
def test_what_is_asked(payload: object, wish: VariableQuery | None) -> None:
    assert parse_variable(payload, SPAN) == wish


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("up", "none of label_values"),
        ("label_value(up)", "none of label_values"),
        ("label_values()", "names no label"),
        ("label_values(up, )", "names no label"),
        ('label_values(up{job="$job"}, instance)', r"\$job"),
    ],
)
def test_what_cannot_be_asked_says_what_can(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_variable({"target": text}, SPAN)


@pytest.mark.parametrize("text", ["query_result(up)", "metrics(up)"])
def test_labels_that_cannot_narrow_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match='takes no labels beside it: job="api"'):
        parse_variable({"target": text, "job": "api"}, SPAN)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for target in (text, f"label_values({text})", f"query_result({text})"):
        try:
            wish = parse_variable({"target": target}, SPAN)
        except ValueError:
            continue
        assert wish is None or wish.kind in ("targets", "label_values", "label_names", "metrics", "query_result")
