"""The paths of all files of a workspace: no other module spells them."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import ConfigError

PARTS = ("train", "stop", "choose", "test")
"""Parts of a split: to fit, to stop and calibrate, to choose threshold and champion, to report."""
PROJECT = ("dvc.yaml", "params.yaml")
"""The files by which a project's folder is known."""
SPARK = "spark"
"""The engine beside scikit-learn: the folder of what it makes, and how its model types begin."""
_OWN = Path(__file__).resolve().parents


def project_root() -> Path:
    """Return the project's folder: the nearest with dvc.yaml and params.yaml, from here upwards.

    The folder that a stage runs in decides, not DVC_ROOT. That names the repository itself, also in
    the temporary trees of `dvc exp run --temp` and `--queue`, and the folder above for a project in
    a subfolder. A folder of plots, as metrics/, has a dvc.yaml but no params.yaml.
    """
    here = Path.cwd()
    above = (here, *here.parents)
    for folders, names in ((above, PROJECT), (above, PROJECT[:1]), (_OWN, PROJECT[:1])):
        for folder in folders:
            if all((folder / name).is_file() for name in names):
                return folder.resolve()
    raise ConfigError("no dvc.yaml here or above; change into the project's folder")


def stage_root() -> Path:
    """Return the project's folder for what trains or registers, which runs the code of that folder.

    An environment knows one copy of the package. In a temporary tree of DVC or in a git worktree
    that is another copy than the tree's: the command then starts anew with the tree's own.
    """
    root = project_root()
    command, copy = _command(root), root / "src" / "lockstep" / "config" / "layout.py"
    if command and copy.is_file() and not copy.samefile(__file__):
        _start_anew(command, root / "src")
    return root


def _start_anew(command: list[str], source: Path) -> None:
    """Replace this process by one that takes the package from ``source``."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if paths[:1] == [str(source)]:  # it was started anew, to no effect
        fix = "run `make env` in the project's folder"
        raise ConfigError(f"{_OWN[1]} is run in place of the code in {source}; {fix}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(source), *paths))}
    os.execve(sys.executable, [sys.executable, *command], environment)


def _command(root: Path) -> list[str]:
    """Return what runs this command: a module of ours or a script of the project; else nothing."""
    main = sys.modules["__main__"]
    module = getattr(main.__spec__, "name", "")
    if module.startswith("lockstep."):
        return ["-m", module, *sys.argv[1:]]
    script = Path(getattr(main, "__file__", None) or "/").resolve()
    folders = (root / "src", root / "scripts")
    is_ours = not module and any(script.is_relative_to(folder) for folder in folders)
    return [str(script), *sys.argv[1:]] if is_ours else []


def main_tree(root: Path) -> Path:
    """Return the project's folder in the main working tree that ``root`` belongs to.

    ``root`` may be in a worktree of git, or in one of DVC's temporary trees below .dvc/tmp/exps.
    The tracking store, its artifacts, locks, .env and fetched files are there.
    """
    root = root.resolve()
    top = _top_of(root)
    above = next((f for f in root.parents if f.parts[-3:] == (".dvc", "tmp", "exps")), None)
    if above is not None:
        return _experiment_of(root, above, top)
    if top is None or (top / ".git").is_dir():
        return root
    main = _tree_of_worktree(top / ".git")
    candidate = main / root.relative_to(top) if main else root
    return candidate if (candidate / "dvc.yaml").is_file() else root


def _top_of(folder: Path) -> Path | None:
    """Return the top of the git repository or worktree around a folder; None outside of any."""
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), None)


def _experiment_of(root: Path, temporary: Path, top: Path | None) -> Path:
    """Return where a project in one of DVC's temporary trees, copies of the repository, came from.

    DVC's own folder may lie above the project, and git's above that.
    """
    owner = temporary.parents[2]
    copied = _top_of(owner)
    if top is None or copied is None or not top.is_relative_to(temporary):
        return main_tree(owner)
    origin = copied / root.relative_to(top)
    return main_tree(origin if origin.is_dir() else owner)


def _tree_of_worktree(link: Path) -> Path | None:
    """Follow a worktree's .git file to the main tree.

    None for a submodule or a separate git folder, which have no commondir, and for a worktree of a
    bare repository, which has no main tree.
    """
    target = link.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    folder = (link.parent / target).resolve()
    if not (folder / "commondir").is_file():
        return None
    common = (folder / (folder / "commondir").read_text(encoding="utf-8").strip()).resolve()
    config = common / "config"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    # A submodule's git folder lies in that of the repository above and names its tree.
    if named := re.search(r"^\s*worktree\s*=\s*(.+?)\s*$", text, re.MULTILINE):
        return (common / named[1]).resolve()
    return common.parent if common.name == ".git" else None


def engine_of(model_type: str) -> tuple[str, str]:
    """Return the engine of a model type, empty for scikit-learn, and the type's name there."""
    begin = f"{SPARK}_"
    own = model_type.removeprefix(begin)
    return (SPARK if model_type.startswith(begin) else ""), own


@dataclass(frozen=True)
class ProblemLayout:
    """The files of one problem below a project root; what Spark makes is in folders of its own.

    ``engine`` says whose data are meant; that of a model or its scores follows from its type.
    """

    root: Path
    problem: str
    engine: str = ""

    @classmethod
    def of(cls, root: Path, problem: str, model_type: str) -> ProblemLayout:
        """Return the files that a training of this type reads and writes."""
        return cls(root, problem, engine_of(model_type)[0])

    def _of(self, model_type: str) -> tuple[ProblemLayout, str]:
        """Return the layout of a type's own engine, and the type's name there."""
        return self.of(self.root, self.problem, model_type), engine_of(model_type)[1]

    @property
    def data(self) -> Path:
        """The folder of everything the data and feature stages write."""
        return self.root / "data" / self.problem / self.engine

    @property
    def raw(self) -> Path:
        """The folder of raw files: out of import_raw."""
        return self.root / "data" / self.problem / "raw"

    @property
    def tidy(self) -> Path:
        """The one tidy table: out of preprocess; on Spark a folder: out of prepare_spark."""
        return self.data / ("tidy" if self.engine else "tidy.parquet")

    @property
    def features(self) -> Path:
        """The folder of encoded matrices, one Parquet file a part: out of features."""
        return self.data / "features"

    def matrix(self, part: str) -> Path:
        """The encoded matrix of one part: features, then target, group (and truth, where known).

        On Spark it is a folder.
        """
        return self.features / (part if self.engine else f"{part}.parquet")

    @property
    def encoder(self) -> Path:
        """The fitted encoder as joblib: out of features."""
        return self.data / "encoder.joblib"

    @property
    def label_encoder(self) -> Path:
        """The target's classes in their encoded order, as JSON: out of features."""
        return self.data / "label_encoder.json"

    def scores(self, model_type: str) -> Path:
        """Every evaluated row's score by one model type: out of train_multi_model."""
        own, name = self._of(model_type)
        return own.data / "scores" / f"{name}.parquet"

    def model(self, model_type: str) -> Path:
        """The pipeline of encoder, estimator and calibrator as joblib: out of train_multi_model."""
        engine, name = engine_of(model_type)
        return self.root / "models" / self.problem / engine / f"{name}_model.joblib"

    def model_card(self, model_type: str) -> Path:
        """What the model is: digests, threshold, metrics' names; beside the model."""
        return self.model(model_type).with_suffix(".json")

    @property
    def metrics(self) -> Path:
        """The folder of everything written for git: metrics and plots.

        Spark's lies apart: `register` depends on the other one, and must not wait for Spark.
        """
        return self.root / self.engine / "metrics" / self.problem

    @property
    def data_quality(self) -> Path:
        """Rows in, out and dropped by reason: metric of preprocess."""
        return self.metrics / "data_quality.json"

    @property
    def features_summary(self) -> Path:
        """Rows, groups and target by part: metric of features."""
        return self.metrics / "features.json"

    def type_folder(self, model_type: str) -> Path:
        """The folder one train_multi_model instance writes metrics and plots into."""
        own, name = self._of(model_type)
        return own.metrics / "types" / name

    def type_metrics(self, model_type: str) -> Path:
        """The headline metrics of one model type: metric of train_multi_model."""
        return self.type_folder(model_type) / "metrics.json"

    def type_details(self, model_type: str) -> Path:
        """All metrics of one model type, by part and fold: out of train_multi_model."""
        return self.type_folder(model_type) / "details.json"

    @property
    def comparison(self) -> Path:
        """A row a declared type, every metric with its interval: out of compare.

        In Spark's folder: the types of both engines, out of compare_engines.
        """
        return self.metrics / "model_comparison.csv"

    @property
    def champion(self) -> Path:
        """The champion and why: metric of compare."""
        return self.metrics / "champion.json"
