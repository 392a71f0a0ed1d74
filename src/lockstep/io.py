"""Files that appear whole or not at all, always with the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import os
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

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same as SafeLoader, ten times as fast, wherever PyYAML was built with libyaml."""


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
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise ConfigError(f"{path} is not UTF-8 ({byte}); save it as UTF-8") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of a YAML text; a broken one is a ConfigError that names it."""
    try:
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from error


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
