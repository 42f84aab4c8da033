"""An engine asked directly: the truth that the service's answers are compared with."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    name: str
    url: str

    def vector(self, query: str, time: float) -> list[tuple[dict[str, str], str]]:
        """The labels and value texts of an instant vector."""
        data = self.ask(query, time)
        assert data["resultType"] == "vector"
        return [(series["metric"], series["value"][1]) for series in data["result"]]

    def value(self, query: str, time: float) -> str | None:
        """The one value of an expression, or None where there is none."""
        found = self.vector(query, time)
        assert len(found) <= 1, query
        return found[0][1] if found else None

    def ask(self, query: str, time: float) -> dict[str, Any]:
        """The data of an instant query."""
        answer = _client().post(f"{self.url}/api/v1/query", data={"query": query, "time": str(time)})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data


@cache
def _client() -> httpx.Client:
    # One for all tests: making a client loads every certificate of the machine.
    return httpx.Client(verify=False, trust_env=False)  # noqa: S501  # engines on loopback speak plain HTTP
