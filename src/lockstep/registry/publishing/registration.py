"""A new version of a registered model, on record."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from lockstep.errors import RegistryError
from lockstep.registry.record.journal import EVENT_TAG
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.connection import translating_mlflow_errors
from lockstep.registry.store.names import STAGE_TAG
from lockstep.registry.store.versions import Version, version_from

if TYPE_CHECKING:
    from lockstep.registry.record.events import Who
    from lockstep.registry.store.connection import Client


class OthersCame(RegistryError):
    """The versions of a model are not those any more that another was judged against."""


def register_version(
    client: Client,
    name: str,
    model_id: str,
    run_id: str,
    tags: dict[str, str],
    stage: str = "None",
    again: bool = False,
    who: Who | None = None,
    among: Collection[int] | None = None,
) -> tuple[Version, bool]:
    """Make a version of a logged model on record; return it, and whether it is new.

    A version of the same digest (tag ``lockstep.model_digest``) is returned in its place, unless ``again``.
    ``among`` are the versions it was judged against; OthersCame where those are not all there are.
    """
    ensure_model(client, name)
    with open_journal(client, name, who) as book:
        digest = tags["lockstep.model_digest"]
        twins = [v for v in book.model.versions if v.tag("model_digest") == digest]
        if twins and not again:
            return twins[-1], False
        if among is not None:
            _check_among(book.model, among)
        details = {"model_digest": digest, "run_id": run_id}
        if sums := tags.get("lockstep.sums_digest"):
            details["sums_digest"] = sums
        event = book.begin("register", stage=stage, details=details)
        with translating_mlflow_errors():
            made = client.create_model_version(
                name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={STAGE_TAG: stage, EVENT_TAG: event.token, **tags},
            )
        book.end(event, version=int(made.version))
        if stage != "None":
            book.settle()
        return version_from(made), True


def _check_among(model: Model, judged: Collection[int]) -> None:
    there = {version.version for version in model.versions}
    if there != set(judged):
        told = ", ".join(map(str, sorted(there ^ set(judged))))
        raise OthersCame(
            f"version {told} of {model.name} came or went while a new model was judged"
        )


def ensure_model(client: Client, name: str) -> None:
    """Make a registered model where there is none."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            with translating_mlflow_errors():
                raise
