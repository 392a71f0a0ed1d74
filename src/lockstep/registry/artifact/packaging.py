"""The model folder in the registry: a pickle-free artifact, its transformer's code, schema, card.

It also holds golden rows and, for a booster, the booster alone for its own loader. The model digest
covers artifact and code only.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, TensorSpec
from mlflow.types import Schema as Columns
from sklearn.linear_model import LogisticRegression

from lockstep.data.values import typed_column
from lockstep.io import sha256_file, write_json, write_text
from lockstep.models.artifact import ENCODER_SOURCE, allowed_types, check_types, content_of
from lockstep.models.calibration import base_estimator
from lockstep.models.golden_rows import checked_outputs, golden_content, golden_rows
from lockstep.models.model_type import Native
from lockstep.models.types import local_types, type_of
from lockstep.models.typical_record import CARD_KEY
from lockstep.problems.schema import PROBLEMS, Schema
from lockstep.registry.artifact.files import (
    CARD,
    GOLDEN,
    REFERENCE,
    ROWS_FILE,
    SCHEMA,
    SKOPS,
    SUMS,
    sums_of,
)

_ALWAYS = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy")
_PACKAGE_CODE = (
    '"""The part of the package that models need, beside the rest of it where that is installed."""'
    "\n\nfrom pkgutil import extend_path\n\n__path__ = extend_path(__path__, __name__)\n"
)


@dataclass
class Package:
    """Everything a model folder is made of; as a stand-in for ``mlflow.sklearn`` it writes one."""

    __name__ = "mlflow.sklearn"

    content: bytes
    schema: Schema
    card: dict[str, Any]
    rows: pd.DataFrame
    outputs: list[Any]
    training_rows: bytes | None = None
    native: Native | None = None
    """The booster for its own loader."""
    typical_record: dict[str, Any] | None = None
    """A typical value of each feature, as far as the training's data are known."""
    reference: dict[str, Any] | None = None
    """The monitoring reference, where the training's rows and scores are known."""
    sums_digest: str = ""
    """The digest of the written folder's list of sums."""

    @property
    def predict_function(self) -> str:
        """What pyfunc calls: probabilities for classes."""
        return "predict" if self.schema.task == "regression" else "predict_proba"

    @property
    def full_card(self) -> dict[str, Any]:
        """The card in the folder: the training's, a typical record, the file for other loaders."""
        card = dict(self.card)
        if self.typical_record is not None:
            card[CARD_KEY] = self.typical_record
        if self.native is not None:
            card["native"] = self.native.card(str(self.card.get("calibration", "none")))
        return card

    @property
    def example(self) -> pd.DataFrame:
        """One input row as a caller would send it, if possible without missing values."""
        known = self.typical_record or {}
        features = self.schema.features
        typical = pd.DataFrame({c.name: typed_column(c, [known.get(c.name)]) for c in features})
        complete = (rows.dropna() for rows in (typical, self.rows))
        row = next((rows for rows in complete if len(rows)), self.rows).head(1)
        # MLflow compares column names in a way that pandas 3 deprecates for its own text type.
        return row.set_axis(row.columns.astype(object), axis="columns")

    def save_model(self, path: str, mlflow_model: Model, **_: Any) -> None:
        """Write the model folder.

        MLflow would dump and load the pipeline once more, and skops' own bytes differ from run to
        run. So an empty model is saved for the folder's other files, and then replaced.
        """
        folder = Path(path)
        with _code_folder() as code:
            _mlflow_sklearn().save_model(
                LogisticRegression(),
                path,
                mlflow_model=mlflow_model,
                code_paths=[str(code)],
                serialization_format="skops",
                skops_trusted_types=list(allowed_types()),
                signature=signature(self),
                input_example=self.example,
                pyfunc_predict_fn=self.predict_function,
                pip_requirements=requirements(self.content),
            )
        (folder / SKOPS).write_bytes(self.content)
        write_json(folder / GOLDEN, golden_content(self.rows, self.outputs), digits=None)
        write_json(folder / CARD, self.full_card, digits=None)
        if self.reference is not None:
            write_text(folder / REFERENCE, json.dumps(self.reference, allow_nan=False) + "\n")
        if self.training_rows is not None:
            (folder / ROWS_FILE).write_bytes(self.training_rows)
        if (native := self.native) is not None:
            (folder / native.file).write_bytes(native.content)
            mlflow_model.add_flavor(native.flavor, **native.declared)
        shutil.copyfile(PROBLEMS / self.schema.name / "schema.yaml", folder / SCHEMA)
        files = (path for path in folder.rglob("*") if path.is_file())
        mlflow_model.model_size_bytes = sum(path.stat().st_size for path in files)
        mlflow_model.save(str(folder / "MLmodel"))
        for compiled in list(folder.rglob("__pycache__")):  # MLflow would remove it after this
            shutil.rmtree(compiled)
        write_json(folder / SUMS, sums_of(folder))
        self.sums_digest = sha256_file(folder / SUMS)


def package(
    pipeline: Any,
    schema: Schema,
    card: dict[str, Any],
    training_rows: bytes | None = None,
    typical_record: dict[str, Any] | None = None,
    reference: dict[str, Any] | None = None,
) -> Package:
    """Make the content of a model folder; ArtifactError if the pipeline holds a forbidden type."""
    content = content_of(card["model_digest"], pipeline)
    check_types(content, f"the {card['type']} model of {card['problem']}")
    rows = golden_rows(schema)
    outputs = checked_outputs(pipeline, schema, rows)
    native = native_of(pipeline)
    return Package(
        content, schema, card, rows, outputs, training_rows, native, typical_record, reference
    )


def native_of(pipeline: Any) -> Native | None:
    """Return the native form of a pipeline's estimator, the same bytes in every process, if any."""
    estimator = base_estimator(pipeline.steps[-1][1])
    return type_of(estimator).native(estimator)


def signature(packed: Package) -> ModelSignature:
    """Return the signature that the schema declares: float64 for numbers and codes, else text."""
    inputs: list[ColSpec | TensorSpec] = []
    for column in packed.schema.features:
        kind = "double" if column.holds_numbers else "string"
        inputs.append(ColSpec(kind, column.name, required=not column.missing))
    shape = np.asarray(packed.outputs).shape[1:] if packed.schema.task == "multiclass" else ()
    classes = (2,) if packed.schema.task == "binary" else shape
    outputs = TensorSpec(np.dtype("float64"), (-1, *classes))
    return ModelSignature(inputs=Columns(inputs), outputs=Columns([outputs]))


def requirements(content: bytes) -> list[str]:
    """Return the pinned packages that an artifact needs on any system, without this project."""
    used = [kind for kind in local_types() if f'"{kind.library}.'.encode() in content]
    own = [pin for kind in used for pin in _pins(kind.distributions)]
    return [*(f"{name}=={version(name)}" for name in _ALWAYS), *own]


def _pins(distributions: Mapping[str, str]) -> list[str]:
    """Return the pin of each build of a library, all at the version that is installed here."""
    installed = next(filter(None, map(_version, distributions)), None)
    return [
        f"{name}=={installed} ; {marker}" if marker else f"{name}=={installed}"
        for name, marker in distributions.items()
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _mlflow_sklearn() -> Any:
    """Import mlflow.sklearn without the warning of pyfunc about MLflow's own type hints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import_module("mlflow.pyfunc")
    return import_module("mlflow.sklearn")


@contextmanager
def _code_folder() -> Iterator[Path]:
    """Yield a package folder with the transformer alone; it does not hide an installed package."""
    with tempfile.TemporaryDirectory() as made:
        package_folder = Path(made) / "lockstep"
        for folder in (package_folder, package_folder / "features"):
            write_text(folder / "__init__.py", _PACKAGE_CODE)
        if ENCODER_SOURCE.is_file():
            shutil.copyfile(ENCODER_SOURCE, package_folder / "features" / ENCODER_SOURCE.name)
        yield package_folder
