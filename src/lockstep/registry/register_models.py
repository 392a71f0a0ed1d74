"""Stage register: every model of the workspace has its version in the registry, whatever DVC took from its cache.

It runs at every repro, asks the registry each time, publishes what is missing from the outputs alone, and ties the
runs of a problem to one parent run. While the server can't be reached it fails.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import Params, Training, load_params
from lockstep.config.settings import Settings, load_settings
from lockstep.errors import RegistryError, run_command
from lockstep.io import sha256_json

if TYPE_CHECKING:
    from lockstep.registry.publishing.outputs import Outputs
    from lockstep.registry.publishing.publish import Published
    from lockstep.registry.store.connection import Client

PARENT_KEY, PARENT = "lockstep.parent_of", "mlflow.parentRunId"


def register_models(
    root: Path, problem: str | None = None, models: Sequence[str] | None = None
) -> list[Published]:
    """Publish what the registry lacks of all declared trainings, or of those named; one line is printed a model.

    Raises RegistryError while the server can't be reached.
    """
    import requests
    from mlflow.exceptions import MlflowException

    from lockstep.registry.store.connection import connect, one_line, raise_interrupt

    settings = load_settings(root)
    if not settings.publish:
        print(f"publishing is off ({settings.source_of('publish')}): nothing is registered")
        return []
    params = load_params(root)
    client = connect(settings, root)
    done: list[Published] = []
    try:
        for name, trainings in _by_problem(params, problem, models).items():
            done += _register_problem(client, settings, root, name, trainings, params)
    except (MlflowException, requests.RequestException) as error:
        raise_interrupt(error)
        raise RegistryError(
            f"the tracking store failed: {one_line(error)}; then run the command again, which goes on from here"
        ) from error
    return done


def _by_problem(
    params: Params, problem: str | None, models: Sequence[str] | None
) -> dict[str, list[Training]]:
    """Return the declared trainings by problem; an unknown problem or type is a usage error."""
    names = [problem] if problem else list(params.problems)
    chosen: dict[str, list[Training]] = {}
    for name in names:
        declared = params.problem(name).model_types
        wanted = (
            declared if not models else models if problem else [m for m in models if m in declared]
        )
        chosen[name] = [params.training(name, kind) for kind in wanted]
    if models and not any(chosen.values()):
        params.training(names[0], models[0])
    return chosen


def _register_problem(
    client: Client,
    settings: Settings,
    root: Path,
    problem: str,
    trainings: list[Training],
    params: Params,
) -> list[Published]:
    from lockstep.registry.publishing.destinations import registers
    from lockstep.registry.publishing.publish import line, publish, versions_by_digest

    outputs = [found for t in trainings if (found := _outputs(root, t))]
    if not outputs:
        return []
    known = versions_by_digest(client, problem)
    done = []
    for one in outputs:
        done.append(publish(client, settings, one, known))
        print(line(done[-1]), flush=True)
    section = params.problem(problem)
    whole = len(outputs) == len(section.model_types)
    asked_for = 1 < len(outputs) == len(trainings)
    own = [one for one in done if one.new or not _of_retrain(known.get((one.name, one.digest)))]
    if registers(settings) and own and (whole or (asked_for and _some_alone(client, own))):
        tie_to_parent(client, settings, outputs, own, section.compare.metric if whole else None)
    return done


def _of_retrain(version: Any) -> bool:
    """Tell whether a version's run lies below a retrain's, where it stays."""
    from lockstep.registry.publishing.tags import RETRAIN

    return version is not None and RETRAIN in version.tags


def _some_alone(client: Client, published: list[Published]) -> bool:
    """Tell whether one of these models' runs has no parent yet: some types trained together get one of their own."""
    return any(PARENT not in client.get_run(one.run_id).data.tags for one in published)


def _outputs(root: Path, training: Training) -> Outputs | None:
    """Return a training's outputs, or None for one that was not run yet."""
    from lockstep.registry.publishing.outputs import read_outputs

    if not ProblemLayout(root, training.problem).model_card(training.type).is_file():
        print(f"{training.problem} {training.type}: not trained yet")
        return None
    return read_outputs(root, training.problem, training.type)


def tie_to_parent(
    client: Client,
    settings: Settings,
    outputs: list[Outputs],
    published: list[Published],
    metric: str | None,
) -> str:
    """Return the id of the parent run of just these models, made and tied to its children where it is missing.

    It is keyed by the set of model digests, so the same models never get two. It holds the comparison by ``metric``;
    None for some of a problem's types, which the compare stage does not compare alone.
    """
    from lockstep.registry.publishing.destinations import experiment_of
    from lockstep.registry.publishing.runs import find_run, log_run
    from lockstep.registry.publishing.tags import PROBLEM
    from lockstep.registry.store import connection, uris

    root, problem = outputs[0].root, outputs[0].problem
    experiment = experiment_of(client, settings, root, problem)
    key = sha256_json(sorted(one.digest for one in outputs))
    found = find_run(client, experiment, {PARENT_KEY: key})
    if found is not None:
        return found.run_id
    with connection.fluent(uris.resolve_uri(settings, root)), tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if metric:
            write_comparison(ProblemLayout(root, problem), folder, metric)
        tags = {PARENT_KEY: key, PROBLEM: problem, "mlflow.source.name": "register"}
        children = [one.run_id for one in published]
        logged = log_run(
            client,
            experiment,
            _parent_record(outputs, tags, compared=metric is not None),
            folder if settings.log_artifacts else None,
            None,
            then=lambda run_id: _tie(client, run_id, children),
        )
    return logged.run_id


def write_comparison(layout: ProblemLayout, folder: Path, metric: str) -> None:
    """Write the comparison, the champion and their picture, as far as the compare stage made them."""
    import shutil

    import pandas as pd

    from lockstep.reports import plots

    for path in (layout.comparison, layout.champion):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    if not layout.comparison.is_file():
        return
    table = pd.read_csv(layout.comparison)
    if {"type", metric} <= set(table.columns):
        plots.save(plots.comparison(table, metric), folder / "model_comparison.png")


def _parent_record(outputs: list[Outputs], tags: dict[str, str], compared: bool) -> Any:
    """Return what the parent run logs: every model's metrics under its type, the champion."""
    from lockstep.io import read_json
    from lockstep.registry.publishing.run_content import data_parts, prefixed_metrics
    from lockstep.registry.publishing.runs import Record

    layout = outputs[0].layout
    known = compared and layout.champion.is_file()
    champion = read_json(layout.champion).get("type") if known else None
    named = {"champion": str(champion)} if champion else {}
    return Record(
        name=f"{layout.problem} {len(outputs)} models",
        tags=tags | {f"lockstep.{key}": value for key, value in named.items()},
        params={**named, **{f"{one.type}.model_digest": one.digest for one in outputs}},
        metrics={"": prefixed_metrics(outputs)},
        parts=data_parts(outputs[0]),
    )


def _tie(client: Client, parent_id: str, children: list[str]) -> None:
    for run_id in children:
        client.set_tag(run_id, PARENT, parent_id)


def main() -> None:
    """Parse the command line and register."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.registry.register_models", description=__doc__
    )
    parser.add_argument("--problem", help="only this problem of params.yaml (default: all)")
    parser.add_argument(
        "--models", nargs="+", metavar="TYPE", help="only these model types (default: all declared)"
    )
    arguments = parser.parse_args()
    register_models(project_root(), arguments.problem, arguments.models)


if __name__ == "__main__":
    run_command(main)
