"""The list of the routes, stand-alone and in a host."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes

SHOP = Path(__file__).parents[1] / "dashboards" / "shop.toml"
GOOD = {"Authorization": "Bearer s3cret"}


def client(*, in_host: bool, **options: Any) -> TestClient:
    """The service over nothing, alone or in a host."""
    settings = Settings(prometheus_url="http://127.0.0.1:9", **options)
    if not in_host:
        return TestClient(create_app(settings))
    app = FastAPI()
    setup_prometheus_routes(app, settings=settings)
    return TestClient(app)


@pytest.mark.parametrize("in_host", [True, False], ids=["host", "alone"])
@pytest.mark.parametrize("path", ["/prometheus/metrics", "/prometheus/metrics/"])
def test_the_list_names_every_route_and_each_answers(in_host: bool, path: str) -> None:
    asking = client(in_host=in_host, catalogue=SHOP)
    answer = asking.get(path, follow_redirects=False)
    routes = answer.json()["routes"]

    assert answer.headers["content-type"] == "application/json"
    assert [route["path"].removeprefix("/prometheus/metrics") for route in routes] == [
        "",
        "/summary",
        "/series",
        *(f"/{category}" for category in ("tills", "storage_rooms", "service")),
        "/all",
        "/docs",
    ]
    for route in routes:
        kind = asking.get(route["path"]).headers["content-type"]
        assert route["answer"] == {"application/json": "JSON", "text/markdown; charset=utf-8": "Markdown"}.get(
            kind, "text"
        )
        assert route["holds"]


@pytest.mark.parametrize("in_host", [True, False], ids=["host", "alone"])
@pytest.mark.parametrize("path", ["/prometheus/metrics", "/prometheus/metrics/"])
def test_the_list_is_guarded_and_read_only(in_host: bool, path: str) -> None:
    asking = client(in_host=in_host, api_tokens=("s3cret",))

    assert {asking.request(way, path).status_code for way in ("GET", "HEAD", "POST", "DELETE")} == {401}
    assert asking.get(path, headers=GOOD).status_code == asking.head(path, headers=GOOD).status_code == 200
    refused = asking.post(path, headers=GOOD)
    assert (refused.status_code, refused.headers["allow"], refused.json()["code"]) == (
        405,
        "GET, HEAD",
        "method_not_allowed",
    )
