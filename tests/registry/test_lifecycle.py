import contextlib
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lockstep.errors import RegistryError, UsageError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.names import STAGES

NAME = "Accident_Prediction_XGBoost"


@pytest.fixture
def client(home):
    return home.client


def add_model(client, versions, name=NAME):
    client.create_registered_model(name)
    run = client.create_run("0").info
    for _ in range(versions):
        client.create_model_version(
            name, run.artifact_uri, run.run_id, tags={"lockstep.stage": "None"}
        )


def stages(client, name=NAME):
    return {v.version: v.stage for v in get_model(client, name).versions}


def agrees(client, name=NAME):
    """Check what each completed move leaves: one Production; tags, aliases, mirror as recorded."""
    model = get_model(client, name)
    assert model.record.faults == ()
    assert model.record.open == ()
    assert model.record.stages == {v.version: v.tags["lockstep.stage"] for v in model.versions}
    production = [v.version for v in model.versions if v.stage == "Production"]
    staging = [v.version for v in model.versions if v.stage == "Staging"]
    assert len(production) <= 1
    assert model.aliases.get("production") == (production[0] if production else None)
    assert model.aliases.get("staging") == (max(staging) if staging else None)
    assert {v.version: v.mirrored for v in model.versions} == {
        v.version: v.stage for v in model.versions
    }


def test_promote_archives_the_previous_production(client):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 1)
    done = lifecycle.promote(client, NAME, 2)
    assert stages(client) == {1: "Archived", 2: "Production"}
    assert done.made_way == (lifecycle.Step(1, "Production", "Archived"),)
    assert client.get_model_version_by_alias(NAME, "production").version == 2
    agrees(client)


def test_the_previous_production_may_go_back_to_none_and_be_rolled_back_from_there(client):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 1)
    done = lifecycle.promote(client, NAME, 2, aside="None")
    assert stages(client) == {1: "None", 2: "Production"}
    assert done.made_way == (lifecycle.Step(1, "Production", "None"),)
    agrees(client)
    lifecycle.rollback(client, NAME)
    assert stages(client) == {1: "Production", 2: "None"}
    agrees(client)


def test_promote_unnamed_takes_the_highest_number_not_the_last_in_text_order(client):
    add_model(client, 11)
    assert lifecycle.promote(client, NAME).step == lifecycle.Step(11, "None", "Production")


def test_transition_to_production_archives_like_promote(client):
    add_model(client, 2)
    lifecycle.transition(client, NAME, "1", "Production")
    lifecycle.transition(client, NAME, "2", "Production")
    assert stages(client) == {1: "Archived", 2: "Production"}


def test_many_may_be_in_staging_and_the_alias_names_the_newest(client):
    add_model(client, 3)
    for version in (3, 1):
        lifecycle.transition(client, NAME, version, "Staging")
    assert get_model(client, NAME).aliases == {"staging": 3}
    lifecycle.archive(client, NAME, 3)
    assert get_model(client, NAME).aliases == {"staging": 1}
    lifecycle.archive(client, NAME, 1)
    assert get_model(client, NAME).aliases == {}
    agrees(client)


def test_moves_are_idempotent_and_archiving_what_is_archived_succeeds(client):
    add_model(client, 1)
    assert lifecycle.archive(client, NAME, 1).changed
    again = lifecycle.archive(client, NAME, 1)
    assert not again.changed
    assert stages(client) == {1: "Archived"}


def test_leaving_production_takes_the_alias_away(client):
    add_model(client, 1)
    lifecycle.promote(client, NAME)
    lifecycle.transition(client, NAME, 1, "None")
    assert get_model(client, NAME).aliases == {}
    agrees(client)


def test_moves_warn_of_nothing_and_suppress_only_their_own_warning(client):
    add_model(client, 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        lifecycle.promote(client, NAME)
        warnings.warn("another", FutureWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["another"]


def test_aliases_of_others_stay(client):
    add_model(client, 2)
    client.set_registered_model_alias(NAME, "champion", "1")
    lifecycle.promote(client, NAME)
    assert get_model(client, NAME).aliases == {"champion": 1, "production": 2}


def test_a_stage_that_another_tool_wrote_gives_way_to_the_record_at_the_next_move(client):
    add_model(client, 3)
    lifecycle.promote(client, NAME, 1)
    client.set_model_version_tag(NAME, "2", "lockstep.stage", "Production")
    client.set_registered_model_alias(NAME, "production", "2")
    assert stages(client) == {1: "Production", 2: "None", 3: "None"}
    lifecycle.transition(client, NAME, 3, "Staging")
    agrees(client)
    assert client.get_model_version(NAME, "2").tags["lockstep.stage"] == "None"


def test_versions_without_a_record_are_taken_over_as_they_stand_but_for_a_second_production(client):
    add_model(client, 3)
    for version in "12":
        client.set_model_version_tag(NAME, version, "lockstep.stage", "Production")
    client.set_registered_model_alias(NAME, "production", "1")
    lifecycle.transition(client, NAME, 3, "Staging")
    assert stages(client) == {1: "Production", 2: "Archived", 3: "Staging"}
    agrees(client)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("production", r"unknown stage 'production' \(did you mean 'Production'\?\)"),
        ("Stagin", r"did you mean 'Staging'"),
        ("", r"unknown stage ''; known: None, Staging, Production, Archived"),
    ],
)
def test_unknown_stage_names_the_nearest(client, stage, message):
    with pytest.raises(UsageError, match=message):
        lifecycle.transition(client, NAME, 1, stage)


@pytest.mark.parametrize("version", ["0", "latest", "-1", "1.0", "", "v2", 0])
def test_a_version_that_is_no_number_from_one_up_is_a_usage_error(client, version):
    with pytest.raises(UsageError, match="is no version number; give a whole number from 1 up"):
        lifecycle.transition(client, NAME, version, "Staging")


def test_unknown_version_lists_those_there_are(client):
    add_model(client, 2)
    with pytest.raises(RegistryError, match=r"has no version 7; there are: 1, 2$"):
        lifecycle.archive(client, NAME, 7)


def test_unknown_model_names_the_nearest(client):
    add_model(client, 1)
    with pytest.raises(
        RegistryError, match=r"unknown model 'Accident_Prediction_xgboost' \(did you mean"
    ):
        lifecycle.promote(client, "Accident_Prediction_xgboost")


def test_promote_of_a_model_without_versions_says_so(client):
    add_model(client, 0)
    with pytest.raises(RegistryError, match="has no version yet; run `make run-train`"):
        lifecycle.promote(client, NAME)


def test_promote_to_archived_is_refused(client):
    with pytest.raises(UsageError, match="use transition"):
        lifecycle.promote(client, NAME, 1, "Archived")


@pytest.mark.parametrize("version", [2, None])
def test_promote_takes_no_version_out_of_production(client, version):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 2)
    command = f"transition --model-name {NAME} --version 2 --stage Staging"
    with pytest.raises(UsageError, match=f"is in Production; `{command}` moves it down"):
        lifecycle.promote(client, NAME, version, "Staging")
    assert stages(client) == {1: "None", 2: "Production"}
    lifecycle.promote(client, NAME, 1, "Staging")
    lifecycle.transition(client, NAME, 2, "Staging")
    assert stages(client) == {1: "Staging", 2: "Staging"}
    agrees(client)


def test_a_refusal_of_the_server_is_one_line(client, monkeypatch):
    add_model(client, 1)

    def refuse(*_):
        raise MlflowException("no\nspace")

    monkeypatch.setattr(client, "set_model_version_tag", refuse)
    with pytest.raises(RegistryError, match=r"^the registry refused: no space; check") as caught:
        lifecycle.promote(client, NAME)
    assert "\n" not in str(caught.value)


def test_a_version_of_another_tool_does_not_put_out_what_stands_in_production_on_record(client):
    add_model(client, 1)
    lifecycle.promote(client, NAME, 1)
    run = client.create_run("0").info
    made = client.create_model_version(
        NAME, run.artifact_uri, run.run_id, tags={"lockstep.stage": "Production"}
    )
    client.set_registered_model_alias(NAME, "production", str(made.version))
    lifecycle.archive(client, NAME, made.version)
    assert stages(client) == {1: "Production", 2: "Archived"}
    agrees(client)


def test_a_move_of_a_version_that_was_deleted_amid_it_hinders_no_later_one(client):
    add_model(client, 3)
    lifecycle.promote(client, NAME, 1)
    with pytest.raises(Crash):
        lifecycle.promote(Crashing(client, 2), NAME, 3)
    client.delete_model_version(NAME, "3")
    lifecycle.promote(client, NAME, 2)
    assert stages(client) == {1: "Archived", 2: "Production"}
    broken_off = next(e for e in get_model(client, NAME).record.events if e.version == 3)
    assert (broken_off.end.outcome, bool(broken_off.end.mended_by)) == ("dropped", True)
    assert get_model(client, NAME).aliases["production"] == 2


class Crash(Exception):
    pass


class Crashing:
    """A client whose process dies at its n-th write."""

    WRITES = (
        "set_model_version_tag",
        "transition_model_version_stage",
        "set_registered_model_alias",
        "delete_registered_model_alias",
        "set_registered_model_tag",
    )

    def __init__(self, client: MlflowClient, writes: int) -> None:
        self.client, self.left = client, writes

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return self._counted(method) if name in self.WRITES else method

    def _counted(self, method):
        def call(*args):
            if self.left == 0:
                raise Crash
            self.left -= 1
            return method(*args)

        return call


@pytest.mark.parametrize("writes", range(9))
def test_a_crash_between_any_two_writes_leaves_no_second_production_and_the_next_command_mends(
    client, writes
):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 1)
    with contextlib.suppress(Crash):
        lifecycle.promote(Crashing(client, writes), NAME, 2)
        assert writes == 8, "begin, two tags, two mirrored stages, one alias, end, head"
    assert list(stages(client).values()).count("Production") <= 1
    lifecycle.promote(client, NAME, 2)
    assert stages(client) == {1: "Archived", 2: "Production"}
    agrees(client)


@pytest.mark.parametrize("writes", range(9))
def test_after_a_crash_a_move_of_another_version_mends_too(client, writes):
    add_model(client, 3)
    lifecycle.promote(client, NAME, 1)
    with contextlib.suppress(Crash):
        lifecycle.promote(Crashing(client, writes), NAME, 2)
    lifecycle.transition(client, NAME, 3, "Staging")
    agrees(client)


moves = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(STAGES), st.one_of(st.none(), st.integers(0, 7))),
    min_size=1,
    max_size=6,
)


@given(sequence=moves)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_sequence_of_moves_with_crashes_keeps_one_production(client, sequence):
    name = f"{NAME}_{abs(hash(tuple(sequence)))}"
    with contextlib.suppress(MlflowException):
        client.delete_registered_model(name)
    add_model(client, 3, name)
    for version, stage, crash in sequence:
        using = client if crash is None else Crashing(client, crash)
        with contextlib.suppress(Crash):
            lifecycle.transition(using, name, version, stage)
        assert list(stages(client, name).values()).count("Production") <= 1
    version, stage, _ = sequence[-1]
    lifecycle.transition(client, name, version, stage)
    assert stages(client, name)[version] == stage
    agrees(client, name)


def test_the_same_over_a_real_server_which_sends_versions_as_text(server):
    client = MlflowClient(server.uri)
    add_model(client, 11)
    assert lifecycle.promote(client, NAME).step.version == 11
    with contextlib.suppress(Crash):
        lifecycle.promote(Crashing(client, 1), NAME, 2)
    assert stages(client)[11] == "Production"  # a move that is not done has not happened
    lifecycle.promote(client, NAME, 9)
    lifecycle.transition(client, NAME, "4", "Staging")
    assert get_model(client, NAME).aliases == {"production": 9, "staging": 4}
    agrees(client)
    with pytest.raises(RegistryError, match="unknown model 'x'; registered: Accident"):
        lifecycle.promote(client, "x")
    with pytest.raises(RegistryError, match="has no version 12; there are: …, 2, 3"):
        lifecycle.archive(client, NAME, 12)
