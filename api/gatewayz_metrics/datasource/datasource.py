"""The parts of the datasource over one running service."""

from dataclasses import dataclass
from typing import Self

from gatewayz_metrics.datasource.options import Options
from gatewayz_metrics.datasource.panels import Limits, Panels
from gatewayz_metrics.datasource.questions import Questions
from gatewayz_metrics.datasource.tags import Tags
from gatewayz_metrics.datasource.targets import Targets
from gatewayz_metrics.datasource.variables import Variables
from gatewayz_metrics.service import Service


@dataclass(frozen=True, slots=True)
class Datasource:
    """What answers for panels, variables, filters and the query editor."""

    panels: Panels
    variables: Variables
    tags: Tags
    options: Options

    @classmethod
    def of(cls, service: Service) -> Self:
        """The datasource of a service."""
        settings, layer = service.settings, service.layer
        questions = Questions(service.answers, service.ranges)
        targets = Targets(layer.catalogue, layer.slots, settings.allow_promql, settings.max_query_length)
        limits = Limits(settings.max_targets, settings.max_points, round(settings.max_range * 1000))
        panels = Panels(targets, questions, limits=limits, scrape_ms=round(settings.scrape_interval * 1000))
        return cls(panels, Variables(targets, questions), Tags(panels, questions), Options(targets, questions))
