"""Models: which are used, which fail, which are slow, what do they cost?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links, theme
from dashboards.board import Row, board
from dashboards.expressions import RANGE
from dashboards.panels import graph, heat, ranking
from dashboards.queries import Line
from dashboards.tables import KeyColumn, ValueColumn, joined
from dashboards.variables import BoardVariables

CALLS = "model_inference_requests_total"
SECONDS = "model_inference_duration_seconds"
TOKENS = "tokens_used_total"
CREDITS = "credits_used_total"

_ROW = ("provider", "model")
_BUSIEST = 'model=~"$busiest"'
_OF_BUSIEST = f"Of the {theme.FEW_LINES} models with most calls over the selected range."


def build(v: BoardVariables) -> Dashboard:
    """Calls, durations, tokens and credits per model."""
    return board(
        v,
        "gw-models",
        "Models",
        "Which models are used, which fail, which are slow, and what do they cost?",
        variables=[
            v.datasource(),
            v.env(),
            v.provider(),
            v.model(),
            v.busiest("model", v.models_of_providers, CALLS),
        ],
        rows=[_each(v), _calls(v), _tokens(v), _cost(v)],
        since="now-24h",
        refresh="1m",
    )


def _calls(v: BoardVariables) -> Row:
    chosen = v.models_of_providers
    failed = chosen.where('status!="success"')
    return "Calls", [
        graph(
            "Calls by model",
            Line(chosen.where(_BUSIEST).rate(CALLS, ["model"]), "{{model}}"),
            links=[links.to_model()],
            note=_OF_BUSIEST,
        ),
        graph(
            "Share of failed calls",
            Line(chosen.share(failed, CALLS, ["provider"]), "{{provider}}"),
            steps=theme.above(0.02, 0.1),
            links=[links.to_provider()],
            # By model it would mislead: a good call may carry another spelling than a failed one.
            note="By provider: failed calls carry the client's spelling of a model.",
        ),
        heat("Durations of calls", chosen.buckets(SECONDS)),
        graph(
            "Time per call",
            *(Line(chosen.quantile(q, SECONDS), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
            ends_at=60,
            note="The histogram ends there: 60 s means 60 s or more.",
        ),
    ]


def _each(v: BoardVariables) -> Row:
    chosen = v.models_of_providers
    failed = chosen.where('status!="success"')
    # In this order a phone shows both names, the share of failures and the calls.
    model = KeyColumn("model", [links.to_model(links.cell("Model"))], least=140)
    provider = KeyColumn("provider", [links.to_provider(links.cell("Provider"))], width=100)
    return "Every model", [
        joined(
            "Models",
            [model, provider],
            [
                ValueColumn("Calls", chosen.increase(CALLS, _ROW), width=80),
                ValueColumn("Failing", chosen.share(failed, CALLS, _ROW, RANGE), theme.above(0.02, 0.1), width=80),
                ValueColumn("Failed", chosen.part(failed, CALLS, _ROW), width=80),
                *(
                    ValueColumn(
                        f"p{q * 100:g}", chosen.quantile(q, SECONDS, _ROW, RANGE), bar=True, words=theme.or_more(60)
                    )
                    for q in (0.5, 0.95, 0.99)
                ),
                ValueColumn("Tokens", chosen.increase(TOKENS, _ROW)),
                ValueColumn("Credits", chosen.increase(CREDITS, _ROW)),
            ],
            sort="Calls",
            note="Over the selected range; the busiest first. "
            "A failed call may stand in a row of its own, under the client's spelling.",
        )
    ]


def _tokens(v: BoardVariables) -> Row:
    chosen, busiest = v.models_of_providers, v.models_of_providers.where(_BUSIEST)
    per_call = busiest.rate(TOKENS, ["model"]).over(busiest.where('status="success"').rate(CALLS, ["model"]), "short")
    return "Tokens", [
        graph("Tokens per second by type", Line(chosen.rate(TOKENS, ["token_type"]), "{{token_type}}")),
        graph("Tokens per call", Line(per_call, "{{model}}"), note=f"Per call that succeeded. {_OF_BUSIEST}"),
    ]


def _cost(v: BoardVariables) -> Row:
    chosen, busiest = v.models_of_providers, v.models_of_providers.where(_BUSIEST)
    spent = busiest.rate(CREDITS, ["model"]).scaled("1000 * {}", "currencyUSD")
    per_thousand = spent.over(busiest.rate(TOKENS, ["model"]), "currencyUSD")
    return "Cost", [
        ranking(
            "Credits by model",
            Line(chosen.increase(CREDITS, ["model"]).top(8), "{{model}}"),
            links=[links.to_model()],
            note="Over the selected range, the eight highest.",
        ),
        graph("Credits per 1,000 tokens", Line(per_thousand, "{{model}}"), note=_OF_BUSIEST),
    ]
