"""Requests kept to one tenant's data, where the upstream has no means of its own.

The caches stand before this, under what was asked and who asked it: what is kept costs nothing here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gatewayz_metrics.errors import InvalidQuery, LimitExceeded, RequestError
from gatewayz_metrics.promql.build import splice
from gatewayz_metrics.promql.narrowing import Change, narrow_query, narrow_selector
from gatewayz_metrics.promql.parser import ParsedQuery, QueryText
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint, Pairs

_OF_QUERIES = frozenset([Endpoint.QUERY, Endpoint.QUERY_RANGE, Endpoint.QUERY_EXEMPLARS])
_OF_SELECTORS = frozenset([Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES])
# They answer about a text or about the server.
_OF_NO_SERIES = frozenset([Endpoint.FORMAT_QUERY, Endpoint.PARSE_QUERY, Endpoint.BUILDINFO])


class NotForTenants(RequestError):
    """What an endpoint answers has no label to tell tenants apart by."""

    status, code = 403, "not_for_tenants"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} cannot be kept to one tenant's data; ask with one of API_TOKENS.")


def narrow(call: ApiRequest, longest: int) -> ApiRequest:
    """The request as it may be sent: with its tenant's matcher, if there is one, in every selector.

    Raises InvalidQuery when it is not certain what a text reads, LimitExceeded when a text becomes longer than
    MAX_QUERY_LENGTH, and NotForTenants for an endpoint that cannot be narrowed.
    """
    if not call.tenant.matcher or call.endpoint in _OF_NO_SERIES:
        return call
    if call.endpoint in _OF_QUERIES:
        return replace(call, parameters=_narrow_all(call, "query", narrow_query, longest), text=None)
    if call.endpoint in _OF_SELECTORS:
        pairs = _narrow_all(call, "match[]", narrow_selector, longest)
        everything = () if call.get("match[]") is not None else (("match[]", f"{{{call.tenant.matcher}}}"),)
        return replace(call, parameters=pairs + everything)
    # An endpoint that nobody has thought of shows nothing.
    raise NotForTenants(call.endpoint)


def _narrow_all(
    call: ApiRequest, name: str, find_changes: Callable[[ParsedQuery, str], Sequence[Change]], longest: int
) -> Pairs:
    """The parameters with every text of one name narrowed."""

    def narrowed(text: str) -> str:
        query = call.text if call.text and call.text.text == text else QueryText(text)
        try:
            changes = find_changes(query.parsed, call.tenant.matcher)
        except ValueError as error:
            raise InvalidQuery(str(error)) from error
        # Before it is put together, as a short text can have very many selectors.
        length = len(text) + sum(len(added) for _, _, added in changes)
        if length > longest:
            raise LimitExceeded(
                f"With the tenant's matcher in each selector the query has {length:,} characters",
                "MAX_QUERY_LENGTH",
                f"{longest:,}",
            )
        return splice(text, changes)

    return tuple((key, narrowed(value) if key == name else value) for key, value in call.parameters)
