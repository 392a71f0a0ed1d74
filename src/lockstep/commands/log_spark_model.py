"""Log a random forest's version for Spark as well, as a model of spark.ml.

The model is saved in the version's run, checked against the version on the golden rows, and loaded
with mlflow.spark.load_model(ADDRESS). It takes the encoder's columns, and its probabilities are
those before calibration. For raw columns, mlflow.pyfunc.spark_udf takes every version as it is.
"""

from __future__ import annotations

import argparse
import importlib
from pkgutil import resolve_name

from lockstep.commands.predict_model import VERSION_OPTIONS
from lockstep.config.layout import project_root
from lockstep.console import Parser, add_options, as_json, common_options
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.store.names import SPARK_MODEL_TAG, check_name
from lockstep.registry.store.opening import open_registry


def main() -> None:
    """Parse the command line, log, print the address."""
    options = parser().parse_args()
    importlib.import_module("lockstep.engines")  # refuses before anything is asked
    root = project_root()
    client = open_registry(root, options.tracking_uri)
    name, version, stage = options.model_name, options.version, options.stage
    found = find_version(client, name, version=version, stage=stage)
    address = found.tags.get(SPARK_MODEL_TAG)
    if address is None:
        log = resolve_name("lockstep.commands.version_on_spark:log")
        address = log(client, locate(client, found, root), root, options.master)
    if options.json:
        print(as_json({"name": found.name, "version": found.version, "address": address}))
    else:
        print(f"{found.title} for Spark: mlflow.spark.load_model('{address}')")


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="log_spark_model.py", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    name, _ = add_options(top, OPTIONS)
    name.required = True
    add_options(top.add_mutually_exclusive_group(), VERSION_OPTIONS)
    common_options(top, default=None)
    return top


OPTIONS = {
    "--model-name": (
        "NAME",
        "registered model of a random forest: its Production version",
        check_name,
    ),
    "--master": ("URL", "Spark's master (default: LOCKSTEP_SPARK_MASTER, or this machine)"),
}
