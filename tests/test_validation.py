"""One reading of what pydantic finds wrong."""

import pytest
from gatewayz_metrics.validation import Problem, first_problem
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int

    @field_validator("size")
    @classmethod
    def _is_small(cls, size: int) -> int:
        if size > 5:
            raise ValueError("it is too large; make it smaller.")
        return size


class Box(BaseModel):
    items: tuple[Item, ...]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"items": [{"size": 1}, {"size": 9}]}, Problem(("items", 1, "size"), "it is too large; make it smaller", 9)),
        ({"items": [{"size": "x"}]}, Problem(("items", 0, "size"), "Input should be a valid integer", "x")),
        ({"items": [{}, {"size": 9}]}, Problem(("items", 0, "size"), "Field required", {})),
        ("nothing", Problem((), "Input should be", "nothing")),
    ],
)
def test_the_first_problem_has_a_place_and_a_clause(document: object, problem: Problem) -> None:
    with pytest.raises(ValidationError) as caught:
        Box.model_validate(document)

    found = first_problem(caught.value.errors(include_url=False))

    assert (found.place, found.given) == (problem.place, problem.given)
    assert problem.clause in found.clause
    assert not found.clause.endswith(".")
    assert first_problem(caught.value.errors(include_input=False)).given is None
