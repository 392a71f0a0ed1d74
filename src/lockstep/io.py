"""Files that appear whole or not at all, always with the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lockstep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same as SafeLoader, ten times as fast, wherever PyYAML was built with libyaml."""


class _Loader(_FASTEST):
    """Read YAML as DVC does: 1e-05 is a number."""


class _StrictLoader(_Loader):
    """Refuse a key that is there twice."""

    def get_single_data(self) -> Any:
        """Return the content of a text, after a look at its keys."""
        node = self.get_single_node()
        _check_keys(node, set())
        return None if node is None else self.construct_document(node)


class _Dumper(yaml.SafeDumper):
    """Write texts that look like 1e-05 in quotes."""


_NUMBER = re.compile(
    r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$"
)
"""Numbers of YAML 1.2, which DVC reads, and which PyYAML, a reader of YAML 1.1, takes for texts."""
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _hidden(path)
    try:
        part.touch(mode=0o600, exist_ok=False)
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise _named(error, part, path) from error.__cause__
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that replaces it when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = _hidden(path), _hidden(path)
    try:
        part.mkdir(mode=0o700)
        yield part
        part.chmod(0o777 & ~_umask())
        if path.exists():
            path.replace(old)  # if it were emptied in place, an interruption would leave half of it
        part.replace(path)
    except OSError as error:
        raise _named(error, part, path) from error.__cause__
    finally:
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)


def _hidden(path: Path) -> Path:
    """Return a new name beside ``path`` that git and DVC ignore."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _named(error: OSError, part: Path, path: Path) -> OSError:
    """Let an error name the file that was written, where it names none or the temporary one."""
    name = error.filename2 or error.filename
    if error.errno is not None and (name is None or str(name).startswith(str(part))):
        error.filename, error.filename2 = str(path), None
    return error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def rounded(value: Any, digits: int = 6) -> Any:
    """Return ``value`` with every float in it rounded to ``digits`` significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if hasattr(value, "item"):  # a numpy scalar
        return rounded(value.item(), digits)
    return value


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with bare line feeds."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any, digits: int | None = 6) -> None:
    """Write JSON, keys in their order, floats to ``digits`` significant digits (None: as is)."""
    plain = content if digits is None else rounded(content, digits)
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a DataError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no valid JSON ({error})") from error


def _missing(path: Path) -> DataError:
    return DataError(f"{path} is missing; run `dvc repro` (or `dvc checkout`) to make it")


def read_utf8(path: Path) -> str:
    """Return the text of a file that people edit; ConfigError if it is not UTF-8."""
    return decoded(path.read_bytes(), path)


def decoded(content: bytes, where: object) -> str:
    """Return the text of UTF-8 with bare line feeds; ConfigError, with the place, for any other."""
    try:
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        byte = f"byte {content[error.start]:#04x} at {error.start}"
        raise ConfigError(f"{where} is not UTF-8 ({byte}); save it as UTF-8") from None


def parse_yaml(text: str, where: str, strict: bool = True) -> Any:
    """Return the content of a YAML text; a broken one is a ConfigError that names it.

    A key that is there twice breaks it, too, unless it is not ``strict``. ``1e-05`` is a number, as
    for DVC.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader if strict else _Loader)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: the date 2025-13-01
        raise ConfigError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from error


def _check_keys(node: Any, seen: set[int]) -> None:
    """Raise an error for a key that a mapping has twice; PyYAML would take the last one."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))  # an alias leads to a node again
    if not isinstance(node, yaml.MappingNode):
        for item in node.value:
            _check_keys(item, seen)
        return
    keys: set[tuple[str, object]] = set()
    for key, value in node.value:
        own = (key.tag, str(key.value))
        if own in keys and own[0] != "tag:yaml.org,2002:merge":
            raise yaml.MarkedYAMLError(
                problem=f"found duplicate key {key.value!r}", problem_mark=key.start_mark
            )
        keys.add(own)
        _check_keys(value, seen)


def yaml_text(content: Any) -> str:
    """Return content as YAML that every reader reads the same, its keys in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, without its index."""
    with whole_file(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def read_parquet(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table; a missing or truncated one is a DataError that names it."""
    import pandas as pd
    from pyarrow import ArrowInvalid

    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise _missing(path) from None
    except ArrowInvalid as error:
        raise DataError(f"{path} is no readable Parquet file ({error}); make it again") from error


def write_csv(path: Path, table: pd.DataFrame, digits: int = 6) -> None:
    """Write a table as CSV, without its index, floats to ``digits`` significant digits."""
    with whole_file(path) as part:
        table.to_csv(part, index=False, float_format=f"%.{digits}g", lineterminator="\n")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """Return the SHA-256 of a JSON value in its canonical form (sorted keys, no blanks)."""
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
