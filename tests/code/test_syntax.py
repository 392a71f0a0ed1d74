"""A file's meaning stays under changes of comments and layout, and changes under all others."""

import ast
import hashlib
import io
import keyword
import shutil
import subprocess
import tokenize
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lockstep.code.syntax import meaning, parse
from lockstep.errors import ConfigError

PROJECT = Path(__file__).parents[2]
SAMPLE = (Path(__file__).parent / "sample.txt").read_text(encoding="utf-8")
SUM = "30b5980a030c76ccaafe157725762077c7deb790941da6050f2c0772d4ce5370"
"""The same on Python 3.11, 3.12 and 3.13."""
FILES = sorted((PROJECT / "src/lockstep").rglob("*.py"))
CODE = """
import json

LIMIT = 10

def middle(values: list[int], *, low=0) -> float:
    total = sum(value for value in values if value > low) + 0.5
    return total / len(values) if values else LIMIT * -1

class Box(dict):
    size: int = 3
    def text(self):
        return f"{self!r:>10} of {json.dumps(self)}" + "end"
"""


def meant(text: str) -> str:
    return meaning(parse(text.encode(), "a.py"))


def test_every_python_version_finds_the_same_sum():
    assert hashlib.sha256(meant(SAMPLE).encode()).hexdigest() == SUM


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_python_versions_on_this_machine_do(version):
    python = shutil.which(f"python{version}")
    program = (
        "import hashlib, sys; from lockstep.code.syntax import meaning, parse; "
        "print(hashlib.sha256(meaning(parse(sys.stdin.buffer.read(), 'a')).encode()).hexdigest())"
    )
    done = python and subprocess.run(
        [python, "-c", program],
        input=SAMPLE.encode(),
        env={"PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        check=False,
    )
    if not done or done.returncode:
        pytest.skip(f"Python {version} is not installed here")
    assert done.stdout.decode().strip() == SUM


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_comments_and_layout_do_not_count(path):
    text = path.read_text(encoding="utf-8")
    assert meant(ast.unparse(ast.parse(text))) == meant(text)


@given(
    st.lists(st.sampled_from(range(len(CODE.splitlines()))), max_size=5),
    st.text("ab #'", max_size=9),
)
def test_comments_between_lines_do_not_count(places, words):
    lines = CODE.splitlines()
    for place in sorted(places, reverse=True):
        lines.insert(place, f"   # {words}")
    assert meant("\n".join(lines)) == meant(CODE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"""Words."""\nX = 1\n', "X = 1\n"),
        ('def f():\n    """Words."""\n    return 1\n', "def f():\n    return 1\n"),
        ('class A:\n    x: int = 1\n    """Words."""\n', "class A:\n    x: int = 1\n"),
        ("X = 1  # type: int\n", "X = 1\n"),
        ("X = 'a'\n", 'X = "a"\n'),
        ("X = u'a'\n", "X = 'a'\n"),
        ("X = 'a' 'b'\n", "X = 'ab'\n"),
        ("X = 10_0\n", "X = 100\n"),
        ("f(\n    a,\n)\n", "f(a)\n"),
        ("if TYPE_CHECKING:\n    import a\n", ""),
        ("if typing.TYPE_CHECKING:\n    import a\nelse:\n    import b\n", "import b\n"),
    ],
)
def test_what_changes_nothing_does_not_count(one, other):
    assert meant(one) == meant(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x: int = 1\n", "x: float = 1\n"),
        ("x = 1\n", "x = True\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = 'a'\n", "x = b'a'\n"),
        ("x = 'a'\n", "x = a\n"),
        ("return_ = [a, None]\n", "return_ = [a]\n"),
        ("def f(a, b): g()\n", "def f(a, *, b): g()\n"),
        ("def f(*, a, b=1): g()\n", "def f(*, a=1, b): g()\n"),
        ("x = {**a}\n", "x = {a: a}\n"),
        ("x = f'{a}'\n", "x = f'{a!r}'\n"),
        ("x = f'{a:}'\n", "x = f'{a:2}'\n"),
        ("x = '''a\n b'''\n", "x = '''a\n  b'''\n"),
        ("a\nb\n", "b\na\n"),
        ("if a:\n    b\nc\n", "if a:\n    b\n    c\n"),
        ("import a\n", "import b\n"),
        ("from a import b\n", "from .a import b\n"),
        ("async def f(): g()\n", "def f(): g()\n"),
    ],
)
def test_what_changes_something_counts(one, other):
    assert meant(one) != meant(other)


def tokens() -> list[tokenize.TokenInfo]:
    kinds = (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP)
    found = tokenize.generate_tokens(io.StringIO(CODE).readline)
    return [token for token in found if token.type in kinds]


def other_token(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME:
        words = {"if": "or", "in": "is", "else": "or", "for": "if", "def": "class"}
        return words.get(
            token.string, token.string if keyword.iskeyword(token.string) else f"{token.string}x"
        )
    if token.type == tokenize.NUMBER:
        return f"{token.string}1"
    if token.type == tokenize.STRING:
        return f"{token.string[:-1]}x{token.string[-1]}"
    return {"+": "-", "/": "*", "*": "+", "-": "+", ">": "<", "->": "-", "=": "=="}.get(
        token.string, token.string
    )


@given(st.sampled_from(tokens()))
def test_every_changed_token_counts(token):
    other = other_token(token)
    assume(other != token.string)
    lines = CODE.splitlines(keepends=True)
    (row, start), (_, end) = token.start, token.end
    lines[row - 1] = lines[row - 1][:start] + other + lines[row - 1][end:]
    changed = "".join(lines)
    try:
        ast.parse(changed)
    except SyntaxError:
        assume(False)
    assert meant(changed) != meant(CODE)


def test_a_file_of_words_alone_has_no_meaning():
    assert meant('"""What lies here."""\n# words\n') == ""
    assert meant("") == ""


@pytest.mark.parametrize(
    "content", [b"def f(:\n", b"x = 1\n  y = 2\n", b"x = '\xff'\n", b"x = 1\0\n"]
)
def test_a_syntax_error_is_one_line_that_says_where(content):
    with pytest.raises(ConfigError, match=r"^src/a\.py.*no stage can run it$"):
        parse(content, "src/a.py")
