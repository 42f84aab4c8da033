"""How the teams' old module asked: a new client for every query, one query after the other."""

import asyncio

import httpx
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots


class OldModule:
    """The old way with the right expressions, so that only the way differs."""

    def __init__(self, prometheus_url: str) -> None:
        self._url = f"{prometheus_url}/api/v1/query"
        slots, catalogue = Slots(), load()
        self._statistics = [slots.fill(statistic.expr) for statistic in catalogue.statistics]
        self._families = [slots.fill(term.template) for family in catalogue.families for term in family.terms]

    def summary(self) -> None:
        """Every statistic."""
        asyncio.run(self._each(self._statistics))

    def all(self) -> None:
        """Every family."""
        asyncio.run(self._each(self._families))

    async def _each(self, queries: list[str]) -> None:
        for query in queries:
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.get(self._url, params={"query": query})
                answer.raise_for_status()
                answer.json()
