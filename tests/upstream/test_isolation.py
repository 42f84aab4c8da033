"""The door to the upstream: what may be sent for a tenant whose server has no means of its own."""

import pytest
from gatewayz_metrics.errors import InvalidQuery, LimitExceeded
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.settings import read_settings
from gatewayz_metrics.upstream.isolation import NotForTenants, narrow
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, Endpoint, Pairs, Tenant, tenants_by_token

OWN = 'team=~"a"'
TENANT = Tenant(matcher=OWN)
LONGEST = 1000
QUERIES = [Endpoint.QUERY, Endpoint.QUERY_RANGE, Endpoint.QUERY_EXEMPLARS]
SELECTORS = [Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES]
ABOUT_NO_SERIES = [Endpoint.FORMAT_QUERY, Endpoint.PARSE_QUERY, Endpoint.BUILDINFO]


@pytest.mark.parametrize("endpoint", Endpoint)
def test_every_endpoint_is_narrowed_reads_no_series_or_is_refused(endpoint: Endpoint) -> None:
    call = ApiRequest(endpoint, (("match[]", "down"), ("query", "up"), ("query", "b")), "job", TENANT)
    expected: Pairs
    if endpoint in QUERIES:
        expected = (("match[]", "down"), ("query", f"up{{{OWN}}}"), ("query", f"b{{{OWN}}}"))
    elif endpoint in SELECTORS:
        expected = (("match[]", f"down{{{OWN}}}"), ("query", "up"), ("query", "b"))
    elif endpoint in ABOUT_NO_SERIES:
        expected = call.parameters
    else:
        with pytest.raises(NotForTenants, match="API_TOKENS"):
            narrow(call, LONGEST)
        return

    sent = narrow(call, LONGEST)
    assert (sent.endpoint, sent.label, sent.parameters) == (endpoint, "job", expected)


@pytest.mark.parametrize("endpoint", SELECTORS)
def test_without_a_match_everything_of_the_tenant_is_meant(endpoint: Endpoint) -> None:
    sent = narrow(ApiRequest(endpoint, (("start", "1"), ("match", "up")), tenant=TENANT), LONGEST)

    assert sent.parameters == (("start", "1"), ("match", "up"), ("match[]", f"{{{OWN}}}"))


@pytest.mark.parametrize("endpoint", SELECTORS)
def test_every_match_is_narrowed_and_one_in_doubt_refuses_all(endpoint: Endpoint) -> None:
    several = (("match[]", "a"), ("match[]", '{b="c"}'))
    sent = narrow(ApiRequest(endpoint, several, tenant=TENANT), LONGEST)
    assert sent.parameters == (("match[]", f"a{{{OWN}}}"), ("match[]", f'{{{OWN},b="c"}}'))

    for text in ("", "a or b", "a{"):
        with pytest.raises(InvalidQuery):
            narrow(ApiRequest(endpoint, (*several, ("match[]", text)), tenant=TENANT), LONGEST)


@pytest.mark.parametrize("endpoint", Endpoint)
def test_for_everybody_else_a_request_is_what_it_was(endpoint: Endpoint) -> None:
    call = ApiRequest(endpoint, (("query", "up{"), ("match[]", "(")), text=QueryText("up{"))
    by_parameter = ApiRequest(endpoint, call.parameters, tenant=Tenant(parameters=(("extra_label", "a=b"),)))

    assert narrow(call, LONGEST) is call
    assert narrow(by_parameter, LONGEST) is by_parameter
    assert "parsed" not in vars(call.text)


def test_a_text_that_grows_too_long_is_refused_before_it_is_put_together() -> None:
    fits = "+".join(["a"] * (LONGEST // (2 + len(OWN) + 2)))
    narrow(ApiRequest(Endpoint.QUERY, (("query", fits),), tenant=TENANT), LONGEST)

    for endpoint, name, text in [(Endpoint.QUERY, "query", f"{fits}+a+a"), (Endpoint.SERIES, "match[]", "a" * 999)]:
        with pytest.raises(LimitExceeded, match=r"tenant's matcher .* MAX_QUERY_LENGTH"):
            narrow(ApiRequest(endpoint, ((name, text),), tenant=TENANT), LONGEST)


@pytest.mark.parametrize("engine", ["prometheus", "thanos"])
@pytest.mark.parametrize(
    ("tenant", "matcher"),
    [
        ("team=a", 'team=~"a"'),
        ("team=a.b|c", r'team=~"a\\.b\\|c"'),
        ('team="a"}', r'team=~"\"a\"\\}"'),
        ("team=ü=\n", 'team=~"ü=\\n"'),
    ],
)
def test_a_tenants_value_is_matched_to_the_letter(engine: str, tenant: str, matcher: str) -> None:
    settings = read_settings(prometheus_engine=engine, tenants={"t": tenant, "u": "x=y"}, api_tokens="admin")

    found = tenants_by_token(settings)
    assert found["t"] == Tenant(matcher=matcher)
    assert UNRESTRICTED not in found.values()
