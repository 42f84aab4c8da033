"""The parts of the simulated gateway (providers, models, routes, tables) and the metric families it exports."""

from dataclasses import dataclass

from gatewayz_demo.metric_store import ExportedFamily

APP = "gatewayz"


@dataclass(frozen=True)
class Model:
    """A model at one provider.

    The weight is its relative share of the calls, `seconds` the median duration of a call,
    `price` US dollars per million input tokens.
    """

    provider: str
    name: str
    weight: float
    seconds: float
    price: float
    # The name that clients send, where it differs. The gateway counts failed calls under it, successful ones under
    # the provider's name for the model.
    client_name: str = ""


@dataclass(frozen=True)
class Route:
    """A route of the gateway.

    The weight is its relative share of the requests, `seconds` the median of its own work,
    `failures` the statuses it gives besides success with their probabilities, and `queries`
    the database queries (table, operation) of a successful request.
    """

    method: str
    path: str
    weight: float
    seconds: float
    success: str = "200"
    failures: tuple[tuple[str, float], ...] = (("401", 0.012), ("429", 0.004), ("500", 0.007))
    calls_model: bool = False
    queries: tuple[tuple[str, str], ...] = ()

    @property
    def statuses(self) -> tuple[str, ...]:
        """Every status code that this route can give."""
        upstream = ("502", "503") if self.calls_model else ()
        return (self.success, *(status for status, _ in self.failures), *upstream)


INFERENCE_FAILURES = (("400", 0.018), ("401", 0.012), ("429", 0.015), ("500", 0.007))
SPENDING = (("users", "update"), ("credit_transactions", "insert"), ("chat_completion_requests", "insert"))

ROUTES = (
    Route("POST", "/v1/chat/completions", 34, 0.02, "200", INFERENCE_FAILURES, calls_model=True, queries=SPENDING),
    Route("POST", "/v1/messages", 9, 0.02, "200", INFERENCE_FAILURES, calls_model=True, queries=SPENDING),
    Route("POST", "/v1/responses", 5, 0.02, "200", INFERENCE_FAILURES, calls_model=True, queries=SPENDING),
    Route("GET", "/v1/models", 14, 0.03, queries=(("models", "select"),)),
    Route("GET", "/v1/models/{developer}/{model}", 4, 0.02, failures=(("404", 0.04), ("500", 0.007))),
    Route("GET", "/v1/gateways", 3, 0.015),
    Route("GET", "/health", 12, 0.004, failures=(("503", 0.001),)),
    Route("POST", "/auth", 4, 0.12, failures=(("400", 0.02), ("401", 0.09), ("500", 0.007))),
    Route("GET", "/user/balance", 5, 0.02, queries=(("users", "select"),)),
    Route("GET", "/user/profile", 3, 0.025, queries=(("users", "select"),)),
    Route("PUT", "/user/profile", 0.5, 0.05, queries=(("users", "update"),)),
    Route("GET", "/user/api-keys", 2, 0.03, queries=(("api_keys", "select"),)),
    Route("POST", "/user/api-keys", 0.6, 0.07, "201", queries=(("api_keys", "insert"),)),
    Route("DELETE", "/user/api-keys/{key_id}", 0.2, 0.05, failures=(("404", 0.06),), queries=(("api_keys", "delete"),)),
    Route("GET", "/v1/chat/sessions", 3, 0.04, queries=(("chat_sessions", "select"),)),
    Route("POST", "/v1/chat/sessions", 1.2, 0.06, "201", queries=(("chat_sessions", "insert"),)),
    Route("POST", "/api/stripe/webhook", 0.3, 0.15, failures=(("400", 0.05),), queries=(("payments", "insert"),)),
)

# Weight zero, at featherless and for the last model of novita: series that exist and stay at zero.
MODELS = (
    Model("openrouter", "anthropic/claude-sonnet-4.5", 9, 1.98, 6.0, client_name="claude-sonnet-4.5"),
    Model("openrouter", "openai/gpt-4o-mini", 7, 0.87, 0.3),
    Model("openrouter", "deepseek/deepseek-chat-v3.1:free", 6, 2.36, 0.0),
    Model("openrouter", "google/gemini-2.0-flash-exp:free", 5, 0.68, 0.0),
    Model("openai", "gpt-4", 3, 2.79, 30.0),
    Model("openai", "gpt-4o", 6, 1.36, 5.0, client_name="openai/gpt-4o"),
    Model("openai", "gpt-4o-mini", 8, 0.74, 0.3),
    Model("anthropic", "anthropic/claude-opus-4.5", 4, 4.03, 15.0),
    Model("anthropic", "anthropic/claude-haiku-4.5", 5, 0.99, 2.0),
    Model("google-vertex", "google/gemini-2.5-pro", 4, 3.22, 4.0),
    Model("google-vertex", "google/gemini-2.5-flash", 6, 0.81, 0.5),
    Model("groq", "llama-3.3-70b-versatile", 5, 0.37, 0.6),
    Model("fireworks", "accounts/fireworks/models/deepseek-v3p1", 3, 1.61, 0.9),
    Model("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", 3, 1.12, 0.9),
    Model("deepinfra", "deepseek-ai/DeepSeek-R1-0528", 2, 11.16, 1.6),
    Model("cerebras", "gpt-oss-120b", 3, 0.25, 0.5),
    Model("xai", "x-ai/grok-4-fast", 3, 1.24, 0.4),
    Model("mistral", "mistral-large-latest", 2, 1.49, 4.0),
    Model("novita", "moonshotai/kimi-k2-instruct", 1.5, 2.17, 1.2),
    Model("novita", "minimax/minimax-m1-80k", 0, 2.48, 1.0),
    Model("featherless", "featherless-ai/QRWKV-72B", 0, 3.1, 0.0),
)

PROVIDERS = tuple(dict.fromkeys(model.provider for model in MODELS))
QUERIES = tuple(
    dict.fromkeys([*(query for route in ROUTES for query in route.queries), ("rate_limit_configs", "select")])
)
TABLES = tuple(dict.fromkeys(table for table, _ in QUERIES))
# Models in each provider's catalogue.
MODEL_COUNTS = {name: 40 + 61 * number for number, name in enumerate(PROVIDERS)}
CACHES = ("auth", "catalog", "response", "health")
KEY_STATUSES = {"active": 412, "inactive": 57, "revoked": 23}
PLANS = {"free": 1380, "pro": 214, "max": 61, "enterprise": 8}
CYCLES = {"monthly": 1.0, "yearly": 0.25}
EXCEPTIONS = ("ValueError", "TimeoutError", "ConnectionError")

HTTP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MODEL_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
PROVIDER_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0)
RESPONSE_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 90.0, 120.0)
STREAM_BUCKETS = (0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0)
COST_BUCKETS = (1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
SIZE_BUCKETS = (100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)
ENDPOINT = "/v1/chat/completions"
# The gateway queues requests above so many at once.
SLOTS = 80
ROUTE_LABELS = ("app_name", "method", "path")
MODEL_LABELS = ("provider", "model")

REQUESTS = ExportedFamily(
    "fastapi_requests_total",
    "counter",
    "Requests the gateway has answered.",
    (*ROUTE_LABELS, "status_code", "status_class"),
)
REQUEST_SECONDS = ExportedFamily(
    "fastapi_requests_duration_seconds",
    "histogram",
    "Seconds from request to end of answer.",
    ROUTE_LABELS,
    HTTP_BUCKETS,
)
IN_PROGRESS = ExportedFamily("fastapi_requests_in_progress", "gauge", "Requests being answered.", ROUTE_LABELS)
EXCEPTIONS_TOTAL = ExportedFamily(
    "fastapi_exceptions_total", "counter", "Exceptions nobody handled.", ("app_name", "exception_type")
)
MODEL_CALLS = ExportedFamily(
    "model_inference_requests_total", "counter", "Calls to models by outcome.", (*MODEL_LABELS, "status")
)
MODEL_SECONDS = ExportedFamily(
    "model_inference_duration_seconds", "histogram", "Seconds a model call took.", MODEL_LABELS, MODEL_BUCKETS
)
TOKENS = ExportedFamily("tokens_used_total", "counter", "Tokens of model calls.", (*MODEL_LABELS, "token_type"))
CREDITS = ExportedFamily("credits_used_total", "counter", "Credits charged, in US dollars.", MODEL_LABELS)
PROVIDER_SECONDS = ExportedFamily(
    "provider_response_time_seconds",
    "histogram",
    "Seconds until a provider answered.",
    ("provider",),
    PROVIDER_BUCKETS,
)
RESPONSE_SECONDS = ExportedFamily(
    "provider_response_duration_seconds",
    "histogram",
    "Seconds until a provider answered, with buckets for slow answers.",
    (*MODEL_LABELS, "status"),
    RESPONSE_BUCKETS,
)
BREAKER_STATE = ExportedFamily(
    "circuit_breaker_current_state", "gauge", "1 for the state that the breaker is in.", ("provider", "state")
)
BREAKER_CHANGES = ExportedFamily(
    "circuit_breaker_state_transitions_total",
    "counter",
    "Changes of state of a breaker.",
    ("provider", "from_state", "to_state"),
)
BREAKER_REFUSALS = ExportedFamily(
    "circuit_breaker_rejected_requests_total", "counter", "Calls that an open breaker refused.", ("provider",)
)
MODEL_COUNT = ExportedFamily("gateway_model_count", "gauge", "Models in the catalogue.", ("gateway",))
CATALOG_HITS = ExportedFamily("catalog_cache_hits_total", "counter", "Catalogues found in the cache.", ("gateway",))
CATALOG_MISSES = ExportedFamily("catalog_cache_misses_total", "counter", "Catalogues not found there.", ("gateway",))
CATALOG_BYTES = ExportedFamily("catalog_cache_size_bytes", "gauge", "Bytes of a cached catalogue.", ("gateway",))
# Copied from Redis' INFO, and therefore gauges whatever their names say.
REDIS_HITS = ExportedFamily("redis_keyspace_hits_total", "gauge", "Keys found in Redis.")
REDIS_MISSES = ExportedFamily("redis_keyspace_misses_total", "gauge", "Keys not found in Redis.")
REDIS_UP = ExportedFamily("redis_up", "gauge", "1 while Redis answers.")
REDIS_CLIENTS = ExportedFamily("redis_connected_clients", "gauge", "Clients of Redis.")
REDIS_BYTES = ExportedFamily("redis_memory_used_bytes", "gauge", "Bytes that Redis uses.")
FIRST_CHUNK = ExportedFamily(
    "time_to_first_chunk_seconds",
    "histogram",
    "Seconds until the first streamed chunk.",
    MODEL_LABELS,
    (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0, 15.0),
)
FIRST_BYTE = ExportedFamily(
    "backend_ttfb_seconds", "histogram", "Seconds until the first byte.", (*MODEL_LABELS, "endpoint"), STREAM_BUCKETS
)
STREAMING = ExportedFamily(
    "streaming_duration_seconds", "histogram", "Seconds of streaming.", (*MODEL_LABELS, "endpoint"), STREAM_BUCKETS
)
COST = ExportedFamily("gatewayz_api_cost_usd_total", "counter", "Cost of model calls, in US dollars.", MODEL_LABELS)
CALL_COST = ExportedFamily(
    "gatewayz_api_cost_per_request_usd", "histogram", "Cost of a call, in US dollars.", MODEL_LABELS, COST_BUCKETS
)
DAILY_COST = ExportedFamily("gatewayz_daily_cost_estimate_usd", "gauge", "Estimated cost of a day.", ("provider",))
VELOCITY_ACTIVE = ExportedFamily("velocity_mode_active", "gauge", "1 while overload protection is on.")
VELOCITY_ON = ExportedFamily("velocity_mode_activations_total", "counter", "How often overload protection came on.")
VELOCITY_SECONDS = ExportedFamily(
    "velocity_mode_duration_seconds",
    "histogram",
    "How long overload protection stayed on.",
    (),
    (10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0),
)
SLOTS_USED = ExportedFamily("concurrency_active_requests", "gauge", "Requests that hold a slot.")
SLOTS_AWAITED = ExportedFamily("concurrency_queued_requests", "gauge", "Requests that wait for a slot.")
SLOTS_REFUSED = ExportedFamily("concurrency_rejected_total", "counter", "Requests refused a slot.", ("reason",))
CPU_SECONDS = ExportedFamily("process_cpu_seconds_total", "counter", "Processor time of the gateway's process.")
RESIDENT_BYTES = ExportedFamily("process_resident_memory_bytes", "gauge", "Memory of the gateway's process.")
OPEN_FILES = ExportedFamily("process_open_fds", "gauge", "Files that the gateway's process has open.")
MOST_FILES = ExportedFamily("process_max_fds", "gauge", "Files that it may have open.")
START_TIME = ExportedFamily("process_start_time_seconds", "gauge", "Unix time at which the gateway was started.")
REQUEST_BYTES = ExportedFamily(
    "fastapi_request_size_bytes", "histogram", "Size of request bodies.", ROUTE_LABELS, SIZE_BUCKETS
)
RESPONSE_BYTES = ExportedFamily(
    "fastapi_response_size_bytes", "histogram", "Size of response bodies.", ROUTE_LABELS, SIZE_BUCKETS
)
AVAILABILITY = ExportedFamily("provider_availability", "gauge", "1 while the provider answers.", ("provider",))
UPTIME = ExportedFamily("provider_availability", "gauge", "Percent of time the provider answered.", ("provider",))
ERROR_RATE = ExportedFamily("provider_error_rate", "gauge", "Share of calls that failed.", ("provider",))
PROVIDER_COUNTS = {
    status: ExportedFamily(f"gatewayz_providers_{status}", "gauge", f"Providers, {status}.")
    for status in ("total", "healthy", "degraded", "down")
}
DB_QUERIES = ExportedFamily("database_queries_total", "counter", "Database queries.", ("table", "operation"))
DB_SECONDS = ExportedFamily("database_query_duration_seconds", "summary", "Seconds a database query took.", ("table",))
CACHE_HITS = ExportedFamily("cache_hits_total", "counter", "Answers found in a cache.", ("cache_name",))
CACHE_MISSES = ExportedFamily("cache_misses_total", "counter", "Answers not found in a cache.", ("cache_name",))
CACHE_BYTES = ExportedFamily("cache_size_bytes", "gauge", "Bytes a cache holds.", ("cache_name",))
KEYS = ExportedFamily("active_api_keys", "gauge", "API keys by status.", ("status",))
SUBSCRIPTIONS = ExportedFamily("subscription_count", "gauge", "Paid plans.", ("plan_type", "billing_cycle"))
TRIALS = ExportedFamily("trial_active", "gauge", "Trials by status.", ("status",))
# Registered by the real gateway, so that its page shows HELP and TYPE: all but those of the breaker, which begin
# with its first event, are written by none of its code.
REGISTERED = (
    EXCEPTIONS_TOTAL,
    AVAILABILITY,
    ERROR_RATE,
    PROVIDER_SECONDS,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_BYTES,
    KEYS,
    SUBSCRIPTIONS,
    TRIALS,
    BREAKER_STATE,
    BREAKER_CHANGES,
    BREAKER_REFUSALS,
)


def status_class(code: str) -> str:
    """The label `status_class` of a status code, such as `2xx`; `other` for informational codes and redirects."""
    return f"{code[0]}xx" if code[0] in "245" else "other"
