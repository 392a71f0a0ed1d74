"""The one model artifact: canonical skops bytes, their digest, a loader that checks first."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from lockstep.errors import ArtifactError, UnusableHere
from lockstep.io import whole_file
from lockstep.models.types import model_types

ENCODER_SOURCE = Path(__file__).parents[1] / "features" / "columns_v1.py"
"""The transformer's code: it travels inside every artifact, and the digest covers it."""
CODE_FILES = {"../features/columns_v1.py": ()}
"""So it counts by its bytes, comments and layout too."""

COMMON_TYPES = (
    "lockstep.features.columns_v1.ColumnEncoder",
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.frozen._frozen.FrozenEstimator",
    "sklearn.isotonic.IsotonicRegression",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._label.LabelEncoder",
)
"""The types that the artifacts of all model types may hold besides plain values and arrays."""

_UNREADABLE = (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, AttributeError)
"""What skops raises for a damaged file."""
_AGAIN = "register the model again with `dvc repro -s register`"
_SHARED = ("ObjectNode", "TreeNode")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LAST: dict[str, bytes] = {}
"""The canonical bytes of the last digest, by that digest."""


@cache
def allowed_types() -> tuple[str, ...]:
    """Return every type that an artifact may hold, sorted: fixed by code, not read from a file."""
    own = {path for kind in model_types() for path in (*kind.estimators, *kind.classes)}
    return tuple(sorted({*COMMON_TYPES, *own}))


def import_skops() -> Any:
    """Return the module skops.io, without the scikit-learn estimators it would trust by itself.

    To list those, skops would import all of scikit-learn; ``allowed_types`` names what is possible.
    skops also looks up each of numpy's functions in every loaded module, so import it early. Both
    together take longer than a prediction.
    """
    import sklearn.utils

    listing, sklearn.utils.all_estimators = sklearn.utils.all_estimators, list
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = listing
    return skops.io


def canonical_bytes(pipeline: Any) -> bytes:
    """Return the pipeline as skops bytes that are the same in every process.

    skops names arrays by memory address, and zip files store dates. Here members are numbered by
    first appearance, and equal ones are stored once. Only estimators have identities, because
    interned strings differ between processes.
    """
    skops = import_skops()
    with zipfile.ZipFile(io.BytesIO(skops.dumps(pipeline))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    canonical = _Canonical(json.loads(members.pop("schema.json")), members)
    return _zipped(canonical.schema, canonical.content)


def model_digest(pipeline: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical bytes and the transformer's code."""
    content = canonical_bytes(pipeline)
    digest = digest_of(content)
    _LAST.clear()
    _LAST[digest] = content
    return digest


def content_of(digest: str, pipeline: Any) -> bytes:
    """Return the canonical bytes of the pipeline with this digest, without repeating the last dump.

    A training takes the digest and logs in one process, and a forest's bytes are slow to make.
    """
    return _LAST.get(digest) or canonical_bytes(pipeline)


def digest_of(content: bytes, code: Path = ENCODER_SOURCE) -> str:
    """Return the digest of canonical bytes and the code at ``code``."""
    return _with_code(hashlib.sha256(content), code)


def digest_of_file(path: Path, code: Path = ENCODER_SOURCE) -> str:
    """Return the digest of a model's file and the code at ``code``; the file is not held whole."""
    with path.open("rb") as stream:
        return _with_code(hashlib.file_digest(stream, "sha256"), code)


def _with_code(total: Any, code: Path) -> str:
    total.update(code.read_bytes() if code.is_file() else b"")
    return str(total.hexdigest())


def write_artifact(pipeline: Any, path: Path) -> str:
    """Write the pipeline's canonical bytes and return the model digest."""
    content = canonical_bytes(pipeline)
    with whole_file(path) as part:
        part.write_bytes(content)
    return digest_of(content)


def read_artifact(path: Path, expected_digest: str | None, code: Path = ENCODER_SOURCE) -> Any:
    """Check an artifact's digest, then the types inside, and then load its pipeline.

    ``code`` is the transformer's source that the digest covers: the artifact's own copy, which is
    never imported. Raise ArtifactError for a damaged or foreign file, a pickle, or a foreign type.
    """
    content = _read(path)
    if expected_digest is not None and (found := digest_of(content, code)) != expected_digest:
        raise ArtifactError(
            f"{path} has digest {found[:12]}…, expected {expected_digest[:12]}…: the file was "
            f"changed or damaged; {_AGAIN}"
        )
    check_types(content, str(path))
    return _loaded(content, str(path))


def check_types(content: bytes, where: str) -> None:
    """Raise ArtifactError, naming it, for a type in skops bytes that is not allowed."""
    skops = import_skops()
    _check_kind(content, where)
    try:
        found = skops.get_untrusted_types(data=content)
    except _UNREADABLE as error:
        raise ArtifactError(
            f"{where} is no readable skops file ({error}); register the model again"
        ) from error
    foreign = sorted(set(found) - set(allowed_types()))
    if foreign:
        raise ArtifactError(
            f"{where} holds types that are not allowed: {', '.join(foreign[:5])}; "
            "load only artifacts this project wrote"
        )


def _loaded(content: bytes, where: str) -> Any:
    try:
        return import_skops().loads(content, trusted=list(allowed_types()))
    except (*_UNREADABLE, ImportError) as error:
        raise UnusableHere(
            f"{where} cannot be loaded ({type(error).__name__}: {error}); "
            "was it written with other package versions?"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; {_AGAIN}") from None
    except IsADirectoryError:
        raise ArtifactError(f"{path} is a folder, not a model file") from None


def _check_kind(content: bytes, where: str) -> None:
    if zipfile.is_zipfile(io.BytesIO(content)):
        return
    if content[:1] == b"\x80" or content[:2] in (b"\x1f\x8b", b"x\x9c", b"BZ"):
        raise ArtifactError(
            f"{where} is a pickle (or a compressed one), which is never loaded; "
            "expected a skops file"
        )
    raise ArtifactError(f"{where} is no skops file or is cut short; {_AGAIN}")


class _Canonical:
    """Rewrites a skops schema with members and ids numbered by first appearance."""

    def __init__(self, schema: Any, members: dict[str, bytes]) -> None:
        self.uses = Counter(_ids(schema))
        self.members = members
        self.numbers: dict[int, int] = {}
        self.names: dict[bytes, str] = {}
        self.schema = self.visit(schema)

    @property
    def content(self) -> list[tuple[str, bytes]]:
        """The members under their new names, in the order of their first appearance."""
        return [(name, content) for content, name in self.names.items()]

    def visit(self, node: Any) -> Any:
        """Return a node of the schema in its canonical form."""
        if isinstance(node, list):
            return [self.visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        identity: int = node.get("__id__", 0)
        if node.get("__loader__") not in _SHARED or self.uses[identity] < 2:
            return self.fields(node)
        if identity in self.numbers:
            again = {key: node[key] for key in ("__class__", "__module__", "__loader__")}
            return {**again, "__id__": self.numbers[identity]}
        self.numbers[identity] = len(self.numbers) + 1
        return {"__id__": self.numbers[identity], **self.fields(node)}

    def fields(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return a node's fields, visited in their order; the items of a set are sorted."""
        done = {
            key: self.member(value) if key == "file" else self.visit(value)
            for key, value in node.items()
            if key != "__id__"
        }
        if node.get("__loader__") == "SetNode":
            done["content"].sort(key=lambda item: json.dumps(item, sort_keys=True))
        return done

    def member(self, name: Any) -> Any:
        """Return the new name of a member; equal contents share one."""
        if not isinstance(name, str) or name not in self.members:
            return self.visit(name)  # an attribute that happens to be called "file"
        content = self.members[name]
        if name.endswith(".npy"):
            content = _without_padding(content)
        return self.names.setdefault(content, f"{len(self.names):05d}{Path(name).suffix}")


def _ids(node: Any) -> list[int]:
    """Return the id of every estimator-like node, as often as it appears."""
    if isinstance(node, list):
        return [i for item in node for i in _ids(item)]
    if not isinstance(node, dict):
        return []
    own = [node["__id__"]] if node.get("__loader__") in _SHARED and "__id__" in node else []
    return own + [i for value in node.values() for i in _ids(value)]


def _without_padding(content: bytes) -> bytes:
    """Zero the bytes between the fields of a record array (a tree's nodes), which nothing sets."""
    import numpy as np

    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _zipped(schema: Any, members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    text = json.dumps(schema, separators=(",", ":")).encode()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [("schema.json", text), *members]:
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o600 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
