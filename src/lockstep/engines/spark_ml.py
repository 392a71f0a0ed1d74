"""A random forest as a pipeline of spark.ml: encoded columns → prediction and probability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.ml import PipelineModel
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import SparkSession

from lockstep.engines.faults import EngineError
from lockstep.errors import UsageError
from lockstep.models.calibration import base_estimator
from lockstep.models.forests import forest_parts
from lockstep.models.golden_rows import golden_rows
from lockstep.models.scoring.prediction import Model
from lockstep.models.types import model_type
from lockstep.models.types._forest import Forest

FILLED, FLAG, FEATURES = "__filled_", "__missing_", "features"
"""Beginnings of the columns that the pipeline adds, and the vector of all of them."""


CLOSE = 1e-9
"""How far probabilities, or predicted values, may lie apart."""


def spark_pipeline(spark: SparkSession, model: Model, folder: Path) -> PipelineModel:
    """Return a forest's pipeline of spark.ml, which predicts what the forest does uncalibrated.

    It takes the encoder's columns. ``folder`` takes its trees, where all nodes can read them.
    """
    fill, forest = forest_of(model)
    names = [str(name) for name in model.pipeline.named_steps["encoder"].get_feature_names_out()]
    filled = [f"{FILLED}{name}" for name in names]
    flags = [f"{FLAG}{names[place]}" for place in fill.indicator_.features_]
    columns = VectorAssembler(inputCols=[*filled, *flags], outputCol=FEATURES)
    trees = _loaded(spark, forest, folder)
    return PipelineModel([SQLTransformer(statement=_filling(names, fill)), columns, trees])


def check_predictions(spark: SparkSession, model: Model, pipeline: PipelineModel) -> None:
    """Raise EngineError unless the pipeline predicts the golden rows as the model's forest does."""
    encoded = model.pipeline.named_steps["encoder"].transform(golden_rows(model.schema))
    forest = base_estimator(model.pipeline.named_steps["model"])
    classifies = hasattr(forest, "predict_proba")
    expected = forest.predict_proba(encoded) if classifies else forest.predict(encoded)
    column = "probability" if classifies else "prediction"
    found = pipeline.transform(spark.createDataFrame(encoded)).select(column).collect()
    apart = np.abs(np.array([row[0] for row in found]) - expected).max()
    if not apart <= CLOSE:
        raise EngineError(
            f"spark.ml's form of {model.name} predicts the golden rows otherwise, by {apart:.2g}; "
            "nothing was logged"
        )


def forest_of(model: Model) -> tuple[Any, Any]:
    """Return imputer and forest; UsageError for a model that spark.ml has no form of."""
    fix = "use `mlflow.pyfunc.spark_udf`, which takes every version"
    if not isinstance(model_type(str(model.type)), Forest):
        raise UsageError(f"{model.name} is no forest, so spark.ml has no form of it; {fix}")
    fill, forest = forest_parts(base_estimator(model.pipeline.named_steps["model"]))
    if fill is None:
        raise UsageError(
            f"the trees of {model.name} decide on missing values themselves, which those of "
            f"spark.ml can't; {fix}"
        )
    return fill, forest


def _filling(names: list[str], fill: Any) -> str:
    """Return the SQL that replaces missing values and flags them.

    Rows are rounded to float32, as scikit-learn's trees read them.
    """
    parts = []
    for name, median in zip(names, fill.statistics_.tolist(), strict=True):
        value = f"CASE WHEN {_missing(name)} THEN {median!r}D ELSE `{name}` END"
        parts.append(f"CAST(CAST({value} AS FLOAT) AS DOUBLE) AS `{FILLED}{name}`")
    for place in fill.indicator_.features_:
        missing = f"CAST({_missing(names[place])} AS DOUBLE)"
        parts.append(f"{missing} AS `{FLAG}{names[place]}`")
    return f"SELECT *, {', '.join(parts)} FROM __THIS__"


def _missing(name: str) -> str:
    return f"(`{name}` IS NULL OR isnan(`{name}`))"


def _loaded(spark: SparkSession, forest: Any, folder: Path) -> Any:
    """Return spark.ml's forest with the trees of scikit-learn's.

    A tiny one is grown and saved, so that Spark writes its own description; then its nodes are
    replaced.
    """
    classes = len(getattr(forest, "classes_", ()))
    rows = [
        (float(label), Vectors.dense([0.0] * forest.n_features_in_))
        for label in range(classes or 2)
    ]
    table = spark.createDataFrame(rows, ["label", FEATURES])
    kind = RandomForestClassifier if classes else RandomForestRegressor
    grown = kind(numTrees=len(forest.estimators_), maxDepth=0, seed=0).fit(table)
    place = f"file://{folder}"
    grown.write().overwrite().save(place)
    for old in (folder / "data").iterdir():
        old.unlink()
    pq.write_table(_nodes(forest), folder / "data" / "part-00000.parquet")
    return type(grown).load(place)


def _nodes(forest: Any) -> pa.Table:
    """Return the nodes of all trees as spark.ml stores them; see ``forest.tree_state``."""
    trees = [one.tree_ for one in forest.estimators_]
    classifies = hasattr(forest, "classes_")
    return pa.concat_tables(_tree(number, tree, classifies) for number, tree in enumerate(trees))


def _tree(number: int, tree: Any, classifies: bool) -> pa.Table:
    weight, value, count = tree.weighted_n_node_samples, tree.value[:, 0, :], tree.node_count
    mean, leaf = value[:, 0], tree.children_left < 0
    squares = weight * (tree.impurity + mean**2)
    moments = np.column_stack([weight, weight * mean, squares])
    stats = value * weight[:, None] if classifies else moments
    split = {
        "featureIndex": np.where(leaf, -1, tree.feature).astype(np.int32),
        "leftCategoriesOrThreshold": _lists(tree.threshold[~leaf], ~leaf),
        "numCategories": np.full(count, -1, dtype=np.int32),
    }
    node = {
        "id": np.arange(count, dtype=np.int32),
        "prediction": value.argmax(axis=1).astype(np.float64) if classifies else mean,
        "impurity": tree.impurity,
        "impurityStats": _lists(stats, np.full(count, stats.shape[1])),
        "rawCount": tree.n_node_samples.astype(np.int64),
        "gain": np.where(leaf, -1.0, 0.0),
        "leftChild": tree.children_left.astype(np.int32),
        "rightChild": tree.children_right.astype(np.int32),
        "split": _struct(split),
    }
    return pa.table({"treeID": np.full(count, number, dtype=np.int32), "nodeData": _struct(node)})


def _struct(fields: dict[str, Any]) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array(one) for one in fields.values()], [*fields])


def _lists(values: NDArray[np.float64], sizes: NDArray[np.int64]) -> pa.ListArray:
    """Return lists of these lengths, one after the other."""
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values.ravel()))
