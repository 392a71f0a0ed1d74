"""A person can read a run's tags; what only listings need is on its version."""

from lockstep.config.settings import load_settings
from lockstep.registry.publishing.known import known_versions
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.publishing.publish import publish
from lockstep.registry.publishing.tags import OF_RUN
from lockstep.registry.store.connection import connect
from lockstep.registry.store.names import EXPERIMENT_TAG, RETRAIN_TAG, SAME_RUN
from lockstep.registry.store.opening import source_of
from lockstep.registry.train_stage import publish_training

MODEL = ("accidents", "logistic_regression")


def read_by_people(run):
    """MLflow's page hides its own tags."""
    return {key for key in run.data.tags if not key.startswith("mlflow.")}


def test_a_run_has_at_most_a_dozen_tags_and_its_version_all_of_them(workspace):
    published = publish_training(workspace, *MODEL)
    client = connect(load_settings(workspace), workspace)
    run = client.get_run(published.run_id)
    tags = client.get_model_version(published.name, str(published.version)).tags
    assert read_by_people(run) <= OF_RUN
    assert {"lockstep.problem", "lockstep.type", "lockstep.git_commit"} <= read_by_people(run)
    assert {"lockstep.test_roc_auc", "lockstep.schema_digest", "lockstep.threshold"} <= tags.keys()
    for name in read_by_people(run):
        assert run.data.tags[name] == tags[name]


def test_with_the_tags_of_a_retrain_or_an_experiment_there_are_a_dozen():
    assert len(OF_RUN | {RETRAIN_TAG}) <= 12
    assert len(OF_RUN | {EXPERIMENT_TAG}) <= 12
    assert set(SAME_RUN) <= OF_RUN | {EXPERIMENT_TAG}  # by which a run without version is found


def test_a_run_with_all_tags_as_earlier_releases_wrote_it_gets_its_version(workspace):
    published = publish_training(workspace, *MODEL)
    settings = load_settings(workspace)
    client = connect(settings, workspace)
    for key, value in client.get_model_version(published.name, "1").tags.items():
        client.set_tag(published.run_id, key, value)
    client.delete_registered_model(published.name)
    outputs = read_outputs(workspace, *MODEL)
    again = publish(
        client, settings, outputs, known_versions(source_of(client), settings, [outputs])
    )
    assert (again.run_id, again.version, again.new) == (published.run_id, 1, True)
