"""spark.ml's random forest, and its conversion into scikit-learn's.

Spark's trees take no missing values: these become the median, with a flag column beside. Rows are
rounded to float32 first, as scikit-learn's trees read them, so that both decide alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.functions import array_to_vector
from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from sklearn.pipeline import Pipeline
from sklearn.tree._tree import Tree

from lockstep.engines.partitions import TrainingRows, class_weights
from lockstep.io import read_parquet
from lockstep.models.forests import growth_curve, imputer
from lockstep.models.model_type import Fitted, ModelType, Recipe

NO_CHILD, NO_FEATURE = -1, -2
"""What scikit-learn's leaves hold in place of children and feature."""
_SCHEMA = "features array<double>, label double, weight double"


def fit_forest(
    spark: SparkSession, kind: ModelType, recipe: Recipe, rows: TrainingRows, scratch: Path
) -> Fitted:
    """Grow the forest on Spark; return scikit-learn's, which gives the same probabilities."""
    fill, target = imputer().fit(rows.columns(recipe.columns.names)), rows.target
    weights = class_weights(recipe.params.get("class_weight"), target)
    table = _table(spark, rows, fill, weights)
    model = _estimator(recipe).fit(table)
    # Hadoop reads a plain path in a URI, so a space is one.
    model.write().overwrite().save(f"file://{scratch}")
    forest = converted(kind, recipe, scratch, target, len(fill.get_feature_names_out()))
    stop = rows.read_stop()
    curve = growth_curve(forest, recipe.task, fill.transform(stop.features), stop.target)
    return Fitted(Pipeline([("fill", fill), ("estimator", forest)]), None, curve)


def _table(
    spark: SparkSession, rows: TrainingRows, fill: Any, weights: NDArray[np.float64]
) -> DataFrame:
    """Return the training rows as spark.ml takes them, a partition of files a partition."""
    count = len(rows.partitions)
    read = partial(_read, rows, fill, weights)
    table = spark.range(0, count, 1, count).mapInArrow(read, _SCHEMA)
    return table.withColumn("features", array_to_vector(col("features")))


def _read(
    rows: TrainingRows, fill: Any, weights: NDArray[np.float64], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            part = rows.read_partition(number)
            filled = fill.transform(part.features).astype(np.float32).astype(np.float64)
            label = part.target.astype(np.float64)
            weight = weights[part.target] if len(weights) > 1 else np.ones(len(label))
            yield from _batches(filled, label, weight)


def _batches(
    filled: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64]
) -> Iterator[pa.RecordBatch]:
    """Yield rows in batches that Arrow's 32-bit offsets hold."""
    step = 50_000
    for start in range(0, len(label), step):
        block = np.ascontiguousarray(filled[start : start + step])
        offsets = np.arange(0, block.size + 1, filled.shape[1], dtype=np.int32)
        features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(block.ravel()))
        columns = [
            features,
            pa.array(label[start : start + step]),
            pa.array(weight[start : start + step]),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=["features", "label", "weight"])


def _estimator(recipe: Recipe) -> Any:
    """Return spark.ml's forest with the recipe's hyperparameters by their names there."""
    params = dict(recipe.params)
    # The default is scikit-learn's, whose forest the trees are put into.
    columns = params.get("max_features", 1.0 if recipe.task == "regression" else "sqrt")
    made = {
        "numTrees": params.get("n_estimators", 100),
        "maxDepth": params.get("max_depth", 12),
        "minInstancesPerNode": params.get("min_samples_leaf", 1),
        "maxBins": params.get("max_bins", 64),
        "featureSubsetStrategy": "all" if columns is None else str(columns),
        "subsamplingRate": float(params.get("max_samples", 1.0)),
        "seed": recipe.seed,
        "maxMemoryInMB": 512,
        "weightCol": "weight",
    }
    kind = RandomForestRegressor if recipe.task == "regression" else RandomForestClassifier
    return kind(**made)


# ---------------------------------------------------------------- Spark's nodes to scikit-learn's


def converted(
    kind: ModelType, recipe: Recipe, saved: Path, target: NDArray[Any], width: int
) -> Any:
    """Return scikit-learn's forest with the trees of a saved model of spark.ml."""
    classes = None if recipe.task == "regression" else np.unique(target)
    forest = _empty_forest(kind, recipe, classes, width)
    nodes = read_parquet(saved / "data").sort_values(["treeID"], kind="stable")
    for number, tree in nodes.groupby("treeID"):
        made = Tree(width, np.array([1 if classes is None else len(classes)], dtype=np.intp), 1)
        made.__setstate__(tree_state(list(tree["nodeData"]), classes is not None))
        forest.estimators_[int(str(number))].tree_ = made
    return forest


def _empty_forest(kind: ModelType, recipe: Recipe, classes: Any, width: int) -> Any:
    """Return a fitted forest of scikit-learn whose trees are to be replaced."""
    from sklearn import ensemble

    labels = np.array([0.0, 1.0]) if classes is None else classes
    own = {k: v for k, v in recipe.params.items() if k != "max_bins"}
    forest = getattr(ensemble, kind.estimator_name(recipe.task))(random_state=recipe.seed, **own)
    return forest.fit(np.zeros((len(labels), width)), labels)


def tree_state(nodes: list[dict[str, Any]], classifies: bool) -> dict[str, Any]:
    """Return the state of scikit-learn's Tree for the nodes of one of Spark's, by their number."""
    nodes = sorted(nodes, key=lambda node: node["id"])
    stats = np.array([node["impurityStats"] for node in nodes], dtype=np.float64)
    weight = stats.sum(axis=1) if classifies else stats[:, 0]
    values = stats / weight[:, None] if classifies else (stats[:, 1] / weight)[:, None]
    leaf = np.array([node["leftChild"] < 0 for node in nodes])
    split = [node["split"] for node in nodes]
    thresholds = [one["leftCategoriesOrThreshold"] for one in split]
    table = np.zeros(
        len(nodes), dtype=Tree(1, np.array([1], dtype=np.intp), 1).__getstate__()["nodes"].dtype
    )
    table["left_child"] = [
        node["leftChild"] if node["leftChild"] >= 0 else NO_CHILD for node in nodes
    ]
    table["right_child"] = [
        node["rightChild"] if node["rightChild"] >= 0 else NO_CHILD for node in nodes
    ]
    table["feature"] = np.where(leaf, NO_FEATURE, [one["featureIndex"] for one in split])
    table["threshold"] = [
        t[0] if len(t) and not end else -2.0 for t, end in zip(thresholds, leaf, strict=True)
    ]
    table["impurity"] = [node["impurity"] for node in nodes]
    table["n_node_samples"] = [node["rawCount"] for node in nodes]
    table["weighted_n_node_samples"] = weight
    return {
        "max_depth": _depth(table),
        "node_count": len(nodes),
        "nodes": table,
        "values": np.ascontiguousarray(values[:, None, :]),
    }


def _depth(table: NDArray[Any]) -> int:
    """Return how deep the deepest leaf lies; parents come before their children."""
    depth = np.zeros(len(table), dtype=np.int64)
    for node, (left, right) in enumerate(
        zip(table["left_child"], table["right_child"], strict=True)
    ):
        if left >= 0:
            depth[[left, right]] = depth[node] + 1
    return int(depth.max())
