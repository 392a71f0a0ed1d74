"""What a stage's command runs, by the imports and declarations of its module."""

import pytest

from lockstep.code.closure import Code
from lockstep.code.files import Files
from lockstep.errors import ConfigError

LOCK = b"""\
numpy==2.4.6 \\
    # via scikit-learn
scikit-learn==1.9.1 \\
    # via project
lz4==4.0.0 \\
    # via project
"""
TRAIN = """
from lockstep.errors import Fault
from lockstep.models import parts
CODE_MODULES = ("lockstep.models.types.{type}", "lockstep.problems.{problem}.raw?", "lz4")
CODE_LEFT_OUT = ("lockstep.registry", "tqdm")
def main():
    import tqdm
    from lockstep.registry.publish import publish
    from .late import VALUE
"""
PARTS = """
CODE_FILES = {"../problems/{problem}/schema.yaml": ("words", "columns.*.words")}
"""
SCHEMA = "words: a\ncolumns: {words: {kind: numeric, words: b}}\n"
FILES = {
    "requirements.lock": LOCK.decode(),
    "src/lockstep/__init__.py": '"""Words alone."""\n',
    "src/lockstep/errors.py": "class Fault(Exception): ...\n",
    "src/lockstep/models/__init__.py": "ROOM = 1\n",
    "src/lockstep/models/train.py": TRAIN,
    "src/lockstep/models/late.py": "VALUE = 1\n",
    "src/lockstep/models/parts.py": PARTS,
    "src/lockstep/models/types/forest.py": "import sklearn.ensemble\n",
    "src/lockstep/models/types/ridge.py": "VALUE = 2\n",
    "src/lockstep/problems/cars/raw.py": "import csv\n",
    "src/lockstep/problems/cars/schema.yaml": SCHEMA,
    "src/lockstep/problems/toys/schema.yaml": "columns: {}\n",
    "src/lockstep/registry/publish.py": "import mlflow\n",
    "src/lockstep/unused.py": "def (\n",
}
COMMAND = "python -m lockstep.models.train --problem cars --type forest"


def code(**changes: str | None) -> Code:
    """The code above with other files; a name's dots and slashes are written as _."""
    short = {
        path.replace("/", "_").replace(".", "_").removeprefix("src_lockstep_"): path
        for path in FILES
    }
    changed = {short[name]: text for name, text in changes.items()}
    files = {path: text for path, text in (FILES | changed).items() if text is not None}
    return Code(Files({path: text.encode() for path, text in files.items()}))


def test_everything_that_is_imported_read_and_needed_counts_and_nothing_else():
    found = code().of_command(COMMAND)
    assert list(found) == [
        "requirements.lock:lz4",
        "requirements.lock:numpy",
        "requirements.lock:scikit-learn",
        "src/lockstep/errors.py",
        "src/lockstep/models/__init__.py",
        "src/lockstep/models/late.py",
        "src/lockstep/models/parts.py",
        "src/lockstep/models/train.py",
        "src/lockstep/models/types/forest.py",
        "src/lockstep/problems/cars/raw.py",
        "src/lockstep/problems/cars/schema.yaml",
    ]
    assert found["requirements.lock:numpy"] == "2.4.6"


def test_another_type_and_another_problem_have_their_own_files():
    found = code().of_command("python -m lockstep.models.train --problem toys --type ridge")
    assert "src/lockstep/models/types/ridge.py" in found
    assert "src/lockstep/problems/toys/schema.yaml" in found
    assert not [name for name in found if "forest" in name or "cars" in name or "scikit" in name]


def test_a_command_without_a_type_has_them_all():
    found = code().of_command("python -m lockstep.models.train --problem cars")
    assert {"src/lockstep/models/types/forest.py", "src/lockstep/models/types/ridge.py"} <= set(
        found
    )
    with pytest.raises(
        ConfigError, match=r"train\.py imports .*\.raw\?, but the stage's command has no --problem"
    ):
        code().of_command("python -m lockstep.models.train")


@pytest.mark.parametrize(
    "changes",
    [
        {"errors_py": "# words\nclass Fault(Exception):\n    '''Words.'''\n    ...\n"},
        {"__init___py": "# other words"},
        {"unused_py": "x = 1\n"},
        {"registry_publish_py": "import mlflow.other\n"},
        {"models_types_ridge_py": "VALUE = 3\n"},
        {
            "problems_cars_schema_yaml": "words: c # d\n"
            "columns:\n  words: {words: e, kind: numeric}\n"
        },
        {"requirements_lock": FILES["requirements.lock"] + "uvicorn==1\n"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_result_changes_nothing(changes):
    assert code(**changes).of_command(COMMAND) == code().of_command(COMMAND)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"errors_py": "class Fault(ValueError): ...\n"}, "src/lockstep/errors.py"),
        ({"models_late_py": "VALUE = 2\n"}, "src/lockstep/models/late.py"),
        ({"problems_cars_raw_py": None}, "src/lockstep/problems/cars/raw.py"),
        (
            {"problems_cars_schema_yaml": "words: a\ncolumns: {words: {kind: text, words: b}}\n"},
            "src/lockstep/problems/cars/schema.yaml",
        ),
        (
            {"problems_cars_schema_yaml": "words: a\ncolumns: {0: {}, words: {kind: numeric}}\n"},
            "src/lockstep/problems/cars/schema.yaml",
        ),
        (
            {"requirements_lock": FILES["requirements.lock"].replace("1.9.1", "2.0")},
            "requirements.lock:scikit-learn",
        ),
    ],
)
def test_what_changes_a_result_changes_its_part_alone(changes, part):
    before, after = code().of_command(COMMAND), code(**changes).of_command(COMMAND)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {part}


def test_a_file_that_one_module_reads_whole_counts_whole():
    whole = TRAIN + 'CODE_FILES = {"../problems/{problem}/schema.yaml": (), "late.py": ()}\n'
    found = code(models_train_py=whole).of_command(COMMAND)
    words = FILES["src/lockstep/problems/cars/schema.yaml"].replace("words: b", "words: c")
    other = code(models_train_py=whole, problems_cars_schema_yaml=words).of_command(COMMAND)
    assert (
        found["src/lockstep/problems/cars/schema.yaml"]
        != other["src/lockstep/problems/cars/schema.yaml"]
    )
    bytes_count = code(models_train_py=whole, models_late_py="VALUE = 1  # words\n").of_command(
        COMMAND
    )
    assert bytes_count["src/lockstep/models/late.py"] != found["src/lockstep/models/late.py"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"errors_py": "def (\n"}, r"^src/lockstep/errors\.py, line 1: .*; no stage can run it"),
        (
            {"problems_cars_schema_yaml": None},
            r"parts\.py reads src/.*/cars/schema\.yaml, which is missing",
        ),
        ({"problems_cars_schema_yaml": "a: ["}, r"schema\.yaml is no valid YAML"),
        (
            {"requirements_lock": LOCK.decode().replace("scikit-learn==", "scikit-lern==")},
            "no pin of scikit-learn",
        ),
        ({"requirements_lock": None}, r"requirements\.lock is missing"),
        (
            {"models_late_py": None},
            r"train\.py needs the module lockstep\.models\.late, and there is no",
        ),
        (
            {"models_types_forest_py": None},
            r"train\.py needs the module lockstep\.models\.types\.forest, and there is no "
            r"src/lockstep/models/types/forest\.py",
        ),
        (
            {
                "errors_py": "from lockstep.models import parts\n",
                "models_parts_py": "from lockstep.errors import X\n",
            },
            r"in a circle: lockstep\.errors → lockstep\.models\.parts → lockstep\.errors",
        ),
        (
            {"models_parts_py": "CODE_FILES = {NAME: ()}\n"},
            r"parts\.py: CODE_FILES must be a plain dict of texts",
        ),
        (
            {"models_parts_py": "CODE_MODULES = 'lockstep.errors'\n"},
            "CODE_MODULES must be a plain tuple",
        ),
        (
            {"models_parts_py": 'CODE_FILES = {"late.py": "title"}\n'},
            r"parts\.py: CODE_FILES must be a plain dict of texts, each with a tuple; see",
        ),
        (
            {"models_parts_py": 'CODE_FILES: dict = {"late.py": ["title"]}\n'},
            "CODE_FILES must be a plain dict of texts, each with a tuple",
        ),
        ({"models_parts_py": 'CODE_FILES = {"late.py": (1,)}\n'}, "each with a tuple"),
        ({"models_parts_py": "CODE_FILES = {(1,): ()}\n"}, "each with a tuple"),
        ({"models_parts_py": "CODE_FILES = {[]: ()}\n"}, "each with a tuple"),
        ({"models_parts_py": "CODE_LEFT_OUT = (1,)\n"}, "must be a plain tuple of texts; see"),
    ],
)
def test_what_cannot_run_is_one_line_before_anything_does(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        code(**changes).of_command(COMMAND)
    assert "\n" not in str(caught.value)


def test_a_declaration_with_an_annotation_counts_like_one_without():
    annotated = PARTS.replace("CODE_FILES =", "CODE_FILES: dict[str, tuple[str, ...]] =")
    before, after = code().of_command(COMMAND), code(models_parts_py=annotated).of_command(COMMAND)
    schema = "src/lockstep/problems/cars/schema.yaml"
    assert after[schema] == before[schema]
    assert schema not in code(models_parts_py="CODE_FILES: dict\n").of_command(COMMAND)


def test_a_file_that_is_not_utf_8_is_named():
    files = {path: text.encode() for path, text in FILES.items()}
    path = "src/lockstep/problems/cars/schema.yaml"
    files[path] = "words: Gerät\n".encode("latin-1")
    with pytest.raises(ConfigError, match=r"cars/schema\.yaml is not UTF-8 \(byte 0xe4"):
        Code(Files(files)).of_command(COMMAND)


def test_a_type_that_is_misspelt_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"forrest\.py \(did you mean 'forest'\?\)"):
        code().of_command("python -m lockstep.models.train --problem cars --type forrest")


@pytest.mark.parametrize(
    "late",
    [
        "def f():\n    from lockstep.models.parts import X\n",
        "if TYPE_CHECKING:\n    from lockstep.models.parts import X\n",
    ],
)
def test_modules_that_import_each_other_later_are_no_circle(late):
    changes = {"errors_py": late, "models_parts_py": "from lockstep.errors import X\n"}
    assert code(**changes).of_command(COMMAND)


def test_a_package_may_import_what_lies_in_it():
    package, inner = "from lockstep.models import parts\n", "import lockstep.models\n"
    assert code(models___init___py=package, models_parts_py=inner).of_command(COMMAND)
