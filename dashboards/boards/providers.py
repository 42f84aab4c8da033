"""Providers: who answers, who fails, who is slow?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links, theme
from dashboards.board import Row, board
from dashboards.expressions import RANGE
from dashboards.panels import dial, donut, graph, number, ranking, states, words
from dashboards.queries import Line
from dashboards.variables import BoardVariables

CALLS = "model_inference_requests_total"
SECONDS = "provider_response_time_seconds"
AVAILABILITY = "provider_availability"


def build(v: BoardVariables) -> Dashboard:
    """Health, errors, latency and traffic of the model providers."""
    return board(
        v,
        "gw-providers",
        "Providers",
        "Which provider answers, which does not, and since when?",
        variables=[v.datasource(), v.env(), v.provider()],
        rows=[_now(v), _health(v), _errors(v), _latency(v), _each(v)],
        since="now-6h",
    )


def _now(v: BoardVariables) -> Row:
    return "Now", [
        *(
            number(title, v.providers.number(f"providers.{state}_providers", "provider"), steps=steps, size=(3, 4))
            for state, title, steps in _COUNTS
        ),
        number("Mean answer time", v.providers.number("providers.avg_response_time_ms", "provider")),
        number("Mean error rate", v.providers.number("providers.avg_error_rate", "provider")),
        dial(
            "Lowest score", _lowest_score(v), steps=theme.below(0.6, 0.85), note=_EXPORTER, size=(4, 4), empty=_NO_SCORE
        ),
    ]


def _health(v: BoardVariables) -> Row:
    available = v.providers.now(AVAILABILITY)
    over_range = available.scaled(f"sort(avg_over_time({{}}[{RANGE}:]))", "percentunit")
    return "Health", [
        states(
            "Availability",
            Line(available, "{{provider}}"),
            theme.texts(_1=("answers", theme.GREEN), _0=("down", theme.RED)),
            absent="nothing tells",
            links=[links.to_provider()],
            size=(12, 11),
        ),
        ranking(
            "Time available",
            Line(over_range, "{{provider}}"),
            steps=theme.below(0.95, 0.99),
            note=_PICKED,
            size=(12, 11),
        ),
    ]


def _errors(v: BoardVariables) -> Row:
    failed = v.providers.where('status!="success"')
    return "Errors", [
        graph(
            "Error rate as reported",
            Line(v.providers.now("provider_error_rate"), "{{provider}}"),
            steps=theme.above(0.02, 0.1),
            note="Where it disagrees with the counted one beside it, one of the two is wrong.",
        ),
        graph(
            "Error rate as counted",
            Line(v.providers.share(failed, CALLS, ["provider"]), "{{provider}}"),
            steps=theme.above(0.02, 0.1),
        ),
    ]


def _latency(v: BoardVariables) -> Row:
    return "Latency and traffic", [
        graph(
            "95th percentile by provider",
            Line(v.providers.quantile(0.95, SECONDS, ["provider"]), "{{provider}}"),
            steps=theme.above(2, 5),
            ends_at=10,
            note="The histogram ends there: 10 s means 10 s or more.",
        ),
        donut("Share of traffic", Line(v.providers.increase(CALLS, ["provider"]), "{{provider}}"), note=_PICKED),
    ]


def _each(v: BoardVariables) -> Row:
    per_provider = number(
        "$provider",
        v.providers.share(v.providers.where('status!="success"'), CALLS, window=RANGE),
        steps=theme.above(0.02, 0.1),
        note="Failed calls over the picked time.",
        size=(24, 4),
    )
    return "Failed calls, each provider", [
        per_provider.repeat("provider").repeat_direction("h").max_per_row(6),
        words("Provider status pages", _STATUS_PAGES, size=(12, 6)),
        graph(
            "Counts of the exporter",
            *(Line(v.gateway.now(f"gatewayz_providers_{state}"), state) for state in _EXPORTED),
            # The numbers of the first row follow the chosen providers, which these cannot.
            note=f"All providers of the deployment. {_EXPORTER}",
            empty=_NO_SCORE,
            size=(12, 6),
        ),
    ]


def _lowest_score(v: BoardVariables) -> Line:
    score = v.providers.now("gatewayz_provider_health_score")
    return Line(score.scaled("min({})", score.unit), "lowest")


_PICKED = "Over the selected range."
_EXPORTER = "From an exporter that few deployments run: nothing where there is none."
_NO_SCORE = "No exporter"
_EXPORTED = ("total", "healthy", "degraded", "down")
_COUNTS = (
    ("total", "Known", None),
    ("healthy", "Healthy", None),
    ("degraded", "Degraded", theme.above(1, 3)),
    ("unavailable", "Down", theme.above(1, 1)),
)
_STATUS_PAGES = (
    "[Anthropic](https://status.anthropic.com) · [Cerebras](https://status.cerebras.ai) · "
    "[DeepInfra](https://status.deepinfra.com) · [Fireworks](https://status.fireworks.ai) · "
    "[Google Vertex](https://status.cloud.google.com) · [Groq](https://groqstatus.com) · "
    "[Mistral](https://status.mistral.ai) · [Novita](https://status.novita.ai) · "
    "[OpenAI](https://status.openai.com) · [OpenRouter](https://status.openrouter.ai) · "
    "[Together](https://status.together.ai) · [xAI](https://status.x.ai). "
    "Featherless has none that we know of."
)
