"""What each of several workers may take, so that together they take no more than one process would."""

from annotated_types import Ge

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.settings import Settings

# The limits that belong to the service as a whole. Those of one request, one answer or one time belong to each worker.
DIVIDED = (
    "prometheus_connections",
    "max_concurrent_queries",
    "max_memory_bytes",
    "cache_range_bytes",
    "max_connections",
    "max_requests_per_address",
)


def divide(settings: Settings) -> list[Settings]:
    """The settings of each of the WORKERS. Raises ConfigurationError when a limit is too low to be divided."""
    shares = {name: _divide(name, getattr(settings, name), settings.workers) for name in DIVIDED}
    return [
        settings.model_copy(update={name: values[number] for name, values in shares.items()})
        for number in range(settings.workers)
    ]


def _divide(name: str, whole: int, workers: int) -> list[int]:
    """A limit in parts that differ by one at most; 0 stays what it is, which is none."""
    part, rest = divmod(whole, workers)
    least = max(1, _least(name))
    if whole and part < least:
        raise ConfigurationError(
            f"{name.upper()} is {whole:,}, which {workers} WORKERS cannot share: each needs {least:,} at least; "
            "raise the limit or lower WORKERS."
        )
    return [part + (number < rest) for number in range(workers)]


def _least(name: str) -> int:
    """What the setting's own definition demands."""
    return next(int(str(bound.ge)) for bound in Settings.model_fields[name].metadata if isinstance(bound, Ge))
