"""What MLflow answers about registered models, versions and runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lockstep.registry.store import owners, uris
from lockstep.registry.store.connection import Client, tolerating, translating_mlflow_errors
from lockstep.registry.store.names import (
    DIGEST_TAG,
    MONITORED_TAG,
    MONITORING_SUFFIX,
    NAME_TAG,
    PROCESS_TAG,
    STAGE_TAG,
    UNNAMED,
)
from lockstep.registry.store.versions import Version, version_from

PAGE = 1000
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Queries:
    """Answers of MLflow's client, with the methods of ``sql_tables.Tables``."""

    client: Client

    def entries(self, name: str | None = None) -> list[Any]:
        """Return all registered models, or the one with a name."""
        if name is None:
            with translating_mlflow_errors():
                return list(pages(self.client.search_registered_models))
        with tolerating(*_MISSING):
            return [self.client.get_registered_model(name)]
        return []

    def versions(self, name: str | None = None, stage: str | None = None) -> list[Version]:
        """Return all versions, or those of a model, or of these the ones tagged with a stage."""
        words = [_named(name)] if name else []
        words += [f"tags.`{STAGE_TAG}` = '{stage}'"] if stage else []
        return self._found(" AND ".join(words))

    def with_digest(self, name: str, digest: str) -> list[Version]:
        """Return the versions of a model whose model has a digest."""
        return self._found(f"{_named(name)} AND tags.`{DIGEST_TAG}` = '{digest}'")

    def numbered(self, name: str, numbers: Collection[int]) -> list[Version]:
        """Return the versions with these numbers; nothing for those that were deleted."""
        found: list[Version] = []
        for number in numbers:
            with tolerating(*_MISSING):
                found.append(version_from(self.client.get_model_version(name, str(number))))
        return found

    def newest(self, name: str, most: int = 1) -> list[Version]:
        """Return the newest versions of a model, the newest first."""
        query: dict[str, Any] = {"filter_string": _named(name), "max_results": min(most, PAGE)}
        query["order_by"] = ["version_number DESC"]
        with translating_mlflow_errors():
            found = pages(self.client.search_model_versions, **query)
            return [version_from(raw) for raw in islice(found, most)]

    def versions_of_run(self, run_id: str) -> list[Version]:
        """Return the versions that a run made."""
        return self._found(f"run_id = '{run_id}'")

    def _found(self, condition: str) -> list[Version]:
        """Return the versions that meet a condition of MLflow's; an empty one all do."""
        query: dict[str, Any] = {"filter_string": condition} if condition else {}
        with translating_mlflow_errors():
            return [version_from(raw) for raw in pages(self.client.search_model_versions, **query)]

    def run_name(self, run_id: str) -> str | None:
        """Return what a run is called; None if there is no such run."""
        with tolerating(*_MISSING):
            return str(self.client.get_run(run_id).data.tags.get(NAME_TAG, UNNAMED))
        return None

    def pointed(self, name: str, aliases: Collection[str]) -> dict[str, int]:
        """Return the versions that some aliases of a model name; those that it lacks are left out.

        The model itself would come with the tags of its whole record.
        """
        found: dict[str, int] = {}
        for alias in aliases:
            with tolerating(*_MISSING):
                found[alias] = int(self.client.get_model_version_by_alias(name, alias).version)
        return found

    def analyses(self) -> list[tuple[int, dict[str, str]]]:
        """Return time and tags of the newest analyses of served versions."""
        with translating_mlflow_errors():
            named = {"filter_string": f"name LIKE '%{MONITORING_SUFFIX}'"}
            found = pages(self.client.search_experiments, **named)
            places = [one.experiment_id for one in found]
            if not places:
                return []
            runs = self.client.search_runs(
                places,
                f"tags.`{MONITORED_TAG}` LIKE '%/%' AND attributes.status = 'FINISHED'",
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
            )
        return [(int(run.info.start_time), dict(run.data.tags)) for run in runs]

    def artifact_uri(self, run_id: str) -> str:
        """Return the address of a run's files."""
        with translating_mlflow_errors():
            return str(self.client.get_run(run_id).info.artifact_uri)


@dataclass(frozen=True)
class Logged:
    """The ids of a run and of the model logged in it."""

    run_id: str
    model_id: str | None


def _named(name: str) -> str:
    """Return the condition that a version is of a model; MLflow's filters know no escape."""
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def pages(search: Callable[..., Any], **query: Any) -> Iterator[Any]:
    """Yield the results of all pages of a search; ``max_results`` is of a page."""
    token = None
    while True:
        page = search(page_token=token, **{"max_results": PAGE, **query})
        yield from page
        token = page.token
        if not token:
            return


def kept_run(client: Client, run_id: str) -> Any | None:
    """Return a run, also a deleted one; None if `mlflow gc` has removed it."""
    with tolerating(*_MISSING):
        return client.get_run(run_id)
    return None


def active_run(client: Client, run_id: str) -> Any | None:
    """Return a run; None if it was deleted, whether or not `mlflow gc` has removed it since."""
    run = kept_run(client, run_id)
    return run if run and run.info.lifecycle_stage == "active" else None


def active_model(client: Client, model_id: str) -> Any | None:
    """Return a logged model; None if it was deleted."""
    with tolerating(*_MISSING):
        return client.get_logged_model(model_id)
    return None


def end_abandoned(client: Client, runs: Iterable[Any]) -> None:
    """Mark the open runs FAILED whose process has ended, or is this one, which logs no other now.

    Through a server, processes of other machines may still be logging theirs, and so those of an
    unknown process stay open. A local registry is of this machine: only a process that runs here
    keeps its run open.
    """
    is_local = uris.sqlite_file(client.tracking_uri) is not None
    own = owners.this_process()
    for run in (one for one in runs if one.info.status == "RUNNING"):
        owner = owners.from_tag(run.data.tags.get(PROCESS_TAG, ""))
        is_gone = not owners.is_alive(owner) if is_local else owners.has_ended(owner)
        if owner == own or is_gone:
            client.set_terminated(run.info.run_id, "FAILED")


def find_run(client: Client, experiment_id: str, tags: Mapping[str, str | None]) -> Logged | None:
    """Return the newest finished run with these tags (None: without the tag), and its model.

    The model is None if none was logged, or it was deleted since. Runs that a crash left open are
    marked FAILED.
    """
    known = {key: value for key, value in tags.items() if value is not None}
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in known.items())
    found = client.search_runs([experiment_id], condition, order_by=["attributes.start_time DESC"])
    same = [run for run in found if all(run.data.tags.get(key) == tags[key] for key in tags)]
    end_abandoned(client, same)
    finished = next((run.info.run_id for run in same if run.info.status == "FINISHED"), None)
    if finished is None:
        return None
    outputs = client.get_run(finished).outputs
    models = [one.model_id for one in outputs.model_outputs] if outputs else []
    return Logged(finished, next((one for one in models if active_model(client, one)), None))
