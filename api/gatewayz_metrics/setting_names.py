"""Variables that look like settings of ours and are none: a typing error would else be ignored without a word."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

# How alike two names must be, of 1: API_TOKEN and API_TOKENS are, PROMETHEUS_PORT and PROMETHEUS_URL are not.
_ALIKE = 0.86


def describe_unknown(variables: Iterable[str], known: Iterable[str], prefix: str, *, in_host: bool) -> str:
    """A sentence that names variables which are no settings but look so, with the likely right names; "" without any.

    `variables` and `known` are in lower case, `prefix` is that of a host's settings. In a host only what begins with
    it is ours.
    """
    found = list(_find_unknown(sorted(set(variables)), set(known), prefix.lower(), in_host=in_host))
    if not found:
        return ""
    return f"Not read, for there is no setting of that name: {', '.join(found)}."


def _find_unknown(variables: list[str], known: set[str], prefix: str, *, in_host: bool) -> Iterator[str]:
    for variable in variables:
        has_prefix = variable.startswith(prefix)
        name = variable.removeprefix(prefix)
        if in_host:
            if has_prefix and name not in known:
                yield _suggest(variable, _find_alike(name, known), prefix)
        elif has_prefix and name in known:
            yield f"{variable.upper()} (that is its name inside a host application; here it is {name.upper()})"
        elif variable not in known and (alike := _find_alike(variable, known)):
            yield _suggest(variable, alike, "")


def _find_alike(name: str, known: set[str]) -> str:
    """The setting that somebody may have meant, or nothing."""
    alike = get_close_matches(name, known, 3, _ALIKE)
    # What was cut short is likelier than what was spelt wrongly: PROMETHEUS_USER is near to PROMETHEUS_URL as well.
    return next((each for each in alike if each.startswith(name)), alike[0] if alike else "")


def _suggest(variable: str, alike: str, prefix: str) -> str:
    return variable.upper() + (f" ({(prefix + alike).upper()}?)" if alike else "")
