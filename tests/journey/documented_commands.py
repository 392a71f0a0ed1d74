"""What a reader is told to type: the lines of the README and of the docs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,6}(.*\n)", re.MULTILINE)
BEGINS = re.compile(r"(?:python|make|dvc|git|mlflow|curl|rm|ln|source) |PYTHONPATH=")


def page(name: str) -> str:
    """Return the text of a page of the docs."""
    return (ROOT / "docs" / f"{name}.md").read_text()


def commands(text: str) -> list[str]:
    """Return the lines of a page's bash blocks."""
    blocks = [block for language, block in FENCE.findall(text) if language == "bash"]
    return [
        line
        for block in blocks
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def section(text: str, title: str) -> str:
    """Return a page's part below a heading of the second level."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def shown(text: str) -> list[str]:
    """Return every command that a page shows, in a block of whatever kind, without its comment."""
    blocks = [block for _, block in FENCE.findall(text)] + INDENTED.findall(FENCE.sub("", text))
    lines = [line for block in blocks for line in block.splitlines() if BEGINS.match(line)]
    return [uncommented(line) for line in lines]


def uncommented(line: str) -> str:
    return re.split(r"\s+# ", line)[0].strip()
