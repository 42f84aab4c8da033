"""Requests as the plugins send them, and answers as they read them."""

from typing import Any

from fastapi.testclient import TestClient

from tests.json_datasource import recorded_data
from tests.support.client import Answer

Element = dict[str, Any]


def replay(client: TestClient, number: str, **changes: object) -> Answer:
    """A recorded request sent again, with some fields of its body exchanged."""
    request = recorded_data.recorded(number)
    body = {"json": request["body"] | changes} if "body" in request else {}
    return client.request(request["method"], request["path"] or "/", headers=request["headers"], **body)


def answer(response: Answer) -> Any:
    """The JSON of a success; exactly the type that the plugins read as JSON."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def panel(client: TestClient, target: str, payload: object = None, **fields: object) -> list[Element]:
    """What one target gives, over the hour from ten to eleven."""
    return panels(client, [{"refId": "A", "target": target, "payload": payload}], **fields)


def panels(client: TestClient, targets: list[Element], **fields: object) -> list[Element]:
    """What some targets give, over the hour from ten to eleven."""
    found: list[Element] = answer(client.post("/query", json=question(targets, **fields)))
    return found


def question(targets: list[Element], **fields: object) -> Element:
    """A panel's request over the hour from ten to eleven, a point a minute."""
    hour = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
    return {"range": hour, "intervalMs": 60_000, "maxDataPoints": 500, "targets": targets} | fields


def executed(element: Element) -> str:
    """What the query inspector shows."""
    meta = element.get("meta") or element["schema"]["meta"]
    text: str = meta["executedQueryString"]
    return text


def notices(element: Element) -> list[str]:
    """The texts of an element's notices."""
    meta = element.get("meta") or element["schema"]["meta"]
    return [notice["text"] for notice in meta.get("notices", [])]


def assert_error(response: Answer, status: int, code: str, *words: str) -> str:
    """The one shape of errors that panels and Save & test can both show."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["error"]["code"] == code
    message: str = body["message"]
    assert body["error"]["message"] == message
    for word in words:
        assert word in message
    return message
