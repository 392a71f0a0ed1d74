"""docs/settings.md names every key of the three files, with its default."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from lockstep.config.gates import Gates
from lockstep.config.monitoring import MonitoringSection
from lockstep.config.params import Environment, Params, Problem, Search, SparkData, Training
from lockstep.config.settings import MlflowSection, ModelConfig, ServingSection
from lockstep.features import columns_v1
from lockstep.problems.schema import Column, Derived, Schema

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "`problems.NAME`": Problem,
    "`train.PROBLEM-TYPE`": Training,
    "`search.PROBLEM-TYPE`": Search,
    "`prepare_spark.PROBLEM`": SparkData,
    "`environments.NAME`": Environment,
    "The problem": Schema,
    "`columns.NAME`": Column,
    "`derived`": Derived,
    "`mlflow`": MlflowSection,
    "`mlflow.model_registry.gates.PROBLEM`": Gates,
    "`serving`": ServingSection,
    "`monitoring`": MonitoringSection,
}
ELSEWHERE = ("gates", "columns", "derived")
"""Keys with a section of their own."""
NAMED = {"space": "NAME", "decisions": "PROBLEM"}
"""What stands for the names that a file gives below these keys."""
REQUIRED = "required"


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    found = [annotation, *get_args(annotation)]
    return [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]


def keys_of(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Yield each key of a section, with dots, and its default as YAML holds it."""
    for name, field in model.model_fields.items():
        if name in ELSEWHERE or (model is Column and name == "name"):
            continue
        inner = sections_in(field.annotation)
        if inner:
            place = "" if inner == [field.annotation] else f".{NAMED[name]}"
            yield from ((f"{name}{place}.{key}", value) for key, value in keys_of(inner[0]))
        else:
            yield (
                name,
                REQUIRED if field.is_required() else field.get_default(call_default_factory=True),
            )


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without their heads."""
    text = PAGE.split(f"### {heading}\n", 1)[1]
    text = re.split(r"^#{2,3} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_there_with_its_default(heading: str) -> None:
    known = {row[0].strip("`"): row[1] for row in rows_below(heading) if len(row) == 3}
    assert {name: meant(cell) for name, cell in known.items()} == dict(keys_of(SECTIONS[heading]))


def meant(cell: str) -> Any:
    return cell if cell == REQUIRED else yaml.safe_load(cell.strip("`"))


def test_every_kind_of_derived_column_is_there_with_its_options() -> None:
    rows = {row[0].strip("`"): row[2] for row in rows_below("`derived`") if len(row) == 4}
    found = {kind: yaml.safe_load(f"{{{cell.replace('`', '')}}}") for kind, cell in rows.items()}
    plain = {kind: own.options for kind, own in columns_v1._KINDS.items()}
    expected = {
        kind: {name: list(v) if isinstance(v, tuple) else v for name, v in options}
        for kind, options in plain.items()
    }
    assert found == expected


def test_every_section_has_a_heading() -> None:
    parts = [name for name in Params.model_fields if name not in ("problems", "train_spark")]
    for name in (*parts, "problems", *ModelConfig.model_fields):
        assert any(heading.startswith((f"`{name}.", f"`{name}`")) for heading in SECTIONS), name
    assert "`train_spark` has sections of the same form" in PAGE
