"""`--param KEY=VALUE`: values for params.yaml before a training, checked before writing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from lockstep.config.params import Params, Problem, Training, read_params_text, training_key
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.errors import ConfigError, UsageError, unknown
from lockstep.io import parse_yaml

SECTIONS = ("problems", "train", "search")
FORMS = (
    "TYPE.NAME=VALUE (xgboost.max_depth=6), SECTION.KEY=VALUE (split.seed=1), "
    "or a full key of params.yaml"
)


def with_overrides(root: Path, problem: str, given: Sequence[str]) -> tuple[str, Params]:
    """Return params.yaml's text with the given values and its content; the file is not changed.

    An unknown key is a UsageError or ConfigError with the nearest known one.
    """
    text = read_params_text(root)
    params = parsed(text)
    params.problem(problem)
    values: dict[KeyPath, Any] = dict(override(params, problem, one) for one in given)
    changed = with_values(text, values)
    return changed, parsed(changed)


def override(params: Params, problem: str, given: str) -> tuple[KeyPath, Any]:
    """Return the place in params.yaml that one KEY=VALUE means, and its value, typed as YAML."""
    key, equals, value = given.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--param {given}: give {FORMS}")
    return path_of(params, problem, key), typed(value, given)


def typed(value: str, given: str) -> Any:
    """Return a value as params.yaml's reader reads it."""
    try:
        return parse_yaml(value, given)
    except ConfigError:
        raise UsageError(f"--param {given}: '{value}' is no YAML value; quote it") from None


def path_of(params: Params, problem: str, key: str) -> KeyPath:
    """Return the path of a full key, of TYPE.NAME, or of a key of the problem's own section."""
    first, *rest = key.split(".")
    if first in SECTIONS:
        return _full(params, first, rest, key)
    types, own = params.problem(problem).model_types, list(Problem.model_fields)
    if first in types and rest:
        training = ("train", training_key(problem, first))
        settings = set(Training.model_fields) - {"problem", "type", "params"}
        whole = rest[0] in settings or rest[0] == "params"
        return (*training, *rest) if whole else (*training, "params", *rest)
    if first in own:
        return ("problems", problem, first, *rest)
    known = [*types, *own, *SECTIONS]
    raise UsageError(f"--param {key}: {unknown('key', first, known)}; give {FORMS}")


def _full(params: Params, section: str, rest: list[str], key: str) -> KeyPath:
    """Return a full key whose entry exists; keys below it are checked with the whole file."""
    entries: Collection[str] = getattr(params, section)
    if len(rest) < 2:
        raise UsageError(
            f"--param {key}: name a key below an entry of {section}, as in {section}.NAME.KEY"
        )
    if rest[0] not in entries:
        raise UsageError(f"--param {key}: {unknown(f'entry of {section}', rest[0], entries)}")
    return (section, *rest)
