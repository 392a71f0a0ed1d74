"""The pipeline, with one training node for each type of conf/base/parameters.yml."""

from pathlib import Path

import work
from kedro.pipeline import Pipeline, node

from accidents import nodes


def register_pipelines():
    """Return the project's pipelines by name."""
    types = list(work.read_params(Path("conf/base/parameters.yml"))["train"])
    found = [f"{name}_found" for name in types]
    before = [
        node(nodes.tidy, "params:data", "tidy"),
        node(work.features, ["params:data", "tidy"], ["matrices", "encoder"]),
    ]
    after = [node(nodes.champion, ["params:train", *found], "champion")]
    return {"__default__": Pipeline([*before, *map(training_node, types), *after])}


def training_node(name):
    """Return the node that trains one type; the catalog logs and registers what it returns."""
    made = [f"{name}_model", f"{name}_found", f"{name}_metrics"]
    return node(nodes.train, [f"params:train.{name}", "matrices", "encoder"], made, name=name)
