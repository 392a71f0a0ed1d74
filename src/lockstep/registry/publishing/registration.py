"""A new version of a registered model, on record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from lockstep.config.gates import Gates
from lockstep.errors import RegistryError
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.record.journal import EVENT_TAG
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import get_same
from lockstep.registry.store.connection import Client, tolerating, translating_mlflow_errors
from lockstep.registry.store.names import DIGEST_TAG, STAGE_TAG, SUMS_TAG
from lockstep.registry.store.queries import Logged
from lockstep.registry.store.versions import Version, version_from


@dataclass(frozen=True)
class Decision:
    """Why a model gets no version (empty: it may), and the versions it was compared with.

    ``detail`` says what was compared, and ``figures`` are the compared values by name; both are
    empty if nothing new was found out.
    """

    refused: str
    among: frozenset[int]
    detail: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


Decide = Callable[[Client, str, "Outputs", str, Mapping[str, Gates]], Decision]
"""Decides whether a new model gets a version; without it every model does."""


class OthersCame(RegistryError):
    """The model's versions changed after another model was compared with them."""


def register_version(
    client: Client,
    name: str,
    logged: Logged,
    tags: dict[str, str],
    stage: str = "None",
    again: bool = False,
    among: Collection[int] | None = None,
) -> tuple[Version, bool]:
    """Make a version of a logged model on record; return it, and whether it is new.

    An existing version of the same digest is returned instead, unless ``again``. OthersCame if the
    model's versions are not those it was compared with (``among``).
    """
    ensure_model(client, name)
    with open_journal(client, name, numbers=() if among is None else None) as journal:
        digest = tags[DIGEST_TAG]
        twins = () if again else get_same(client, name, digest).versions
        if twins:
            return twins[-1], False
        if among is not None and (changed := {*journal.model.numbers} ^ {*among}):
            numbers = ", ".join(map(str, sorted(changed)))
            title = f"version {numbers} of {name}"
            raise OthersCame(f"{title} came or went while a new model was judged")
        sums = {"sums_digest": tags[SUMS_TAG]} if tags.get(SUMS_TAG) else {}
        details = {"model_digest": digest, "run_id": logged.run_id, **sums}
        event = journal.begin("register", stage=stage, details=details)
        with translating_mlflow_errors():
            made = journal.checked_client().create_model_version(
                name,
                source=f"models:/{logged.model_id}",
                run_id=logged.run_id,
                model_id=logged.model_id,
                tags={STAGE_TAG: stage, EVENT_TAG: event.token, **tags},
            )
        journal.end(event, version=int(made.version))
        journal.settle()
        return version_from(made), True


def ensure_model(client: Client, name: str) -> None:
    """Make a registered model where there is none."""
    with tolerating("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
        client.create_registered_model(name)
