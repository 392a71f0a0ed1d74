"""The target as a table writes it: words for missing, stray words, spellings of one label.

What is certain is read (and reported with its rows), what is not stops the draft with the fix.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.drafting.profile import Column, profile_column, whole_code
from lockstep.drafting.wording import both, words_question
from lockstep.errors import DataError
from lockstep.problems.dialects import counted
from lockstep.problems.text_tables import MISSING, TextTable

FEWEST_OF_WORD = 20
"""Rows from which a word for missing is a class of its own: as many as a class needs at least."""
MOST_LABELS = 200
"""Different texts up to which a target's labels are compared with each other."""
UNCLEAR = frozenset(
    """
    - -- --- ? ?? . .. n.a. n/a na nan nil none null missing unknown unspecified undefined
    inconnu inconnue unbekannt desconocido sconosciuto desconhecido onbekend #n/a #na <na> (null)
    """.split()  # noqa: SIM905
)
"""Words that may mean a missing value (in small letters)."""
_SYNONYMS = (
    frozenset("yes y true t 1 oui ja si sí vrai wahr sim verdadero vero waar".split()),  # noqa: SIM905
    frozenset("no n false 0 non nein nee não nao faux falsch falso".split()),  # noqa: SIM905
    frozenset({"m", "male", "man"}),
    frozenset({"f", "female", "woman"}),
)


@dataclass(frozen=True)
class Reading:
    """A target's column without its stray words, and what was read how; counts are rows."""

    column: Column
    levels: dict[str, int]
    """Every label with its rows, other spellings counted with their label."""
    absent: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    """Words for missing that are classes here."""
    spellings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> frozenset[str]:
        """Texts that stand for no label."""
        return (MISSING | self.absent.keys()) - self.kept.keys()


def read_target(text: TextTable, column: Column, task: str) -> Reading:
    """Return how a target's labels are read; DataError if spellings leave its classes open."""
    # Parquet has nulls where delimited text is empty.
    counted = pc.fill_null(text.columns[column.name], "").value_counts().to_pylist()
    rows = {c["values"]: c["counts"] for c in counted}
    kept: dict[str, int] = {}
    absent = _unclear_among_numbers(text, column, rows)
    if not absent:
        kept, absent = _words(column, rows, task)
    reading = _without(text, column, rows, kept, absent)
    if reading.column.numbers or len(reading.levels) > MOST_LABELS:
        return replace(reading, column=_whole_classes(reading))
    return _spelt(reading, task)


def _words(
    column: Column, rows: Mapping[str, int], task: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the words for missing that are classes of a target, and those that are none."""
    if column.numbers:
        return {}, dict(column.numbers.words)
    if column.dates or column.distinct > MOST_LABELS:
        return {}, {}
    known = {word: n for word, n in rows.items() if word in MISSING and word}
    few = {word: n for word, n in rows.items() if n < FEWEST_OF_WORD and word not in MISSING}
    stray = {word: n for word, n in few.items() if _is_stray(word, column.name)}
    if column.distinct - len(stray) < 2:
        stray = {}
    unclear = {w: n for w, n in rows.items() if w.casefold() in UNCLEAR and w not in MISSING}
    if task == "binary" and column.distinct - len(stray | unclear) == 2:  # they are no classes
        return {}, stray | unclear
    classes = known | unclear
    return {word: n for word, n in classes.items() if n >= FEWEST_OF_WORD}, stray


def _is_stray(word: str, name: str) -> bool:
    """Tell whether a rare label is a word for missing, or the header once more."""
    return word.casefold() in UNCLEAR or word.casefold() == name.casefold()


def _unclear_among_numbers(
    text: TextTable, column: Column, rows: Mapping[str, int]
) -> dict[str, int]:
    """Return words for missing without which all labels are numbers, however many rows hold one."""
    unclear = {w: n for w, n in rows.items() if w.casefold() in UNCLEAR and w not in MISSING}
    if not unclear or column.numbers or column.dates:
        return {}
    without = _profiled(text, column, MISSING | unclear.keys())
    is_number = without.numbers is not None and not without.numbers.words
    return unclear if is_number else {}


def _profiled(text: TextTable, column: Column, missing: Iterable[str]) -> Column:
    coded = text.columns[column.name].dictionary_encode()
    return profile_column(column.name, coded, text.separator, frozenset(missing))


def _without(
    text: TextTable,
    column: Column,
    rows: Mapping[str, int],
    kept: dict[str, int],
    absent: dict[str, int],
) -> Reading:
    missing = (MISSING | absent.keys()) - kept.keys()
    levels = {label: n for label, n in rows.items() if label not in missing}
    levels = dict(sorted(levels.items(), key=lambda pair: (-pair[1], pair[0])))
    if kept or absent:
        column = _profiled(text, column, missing)
    return Reading(column, levels, absent, kept, {}, tuple(_notes(column, rows, kept, absent)))


def _notes(
    column: Column, rows: Mapping[str, int], kept: dict[str, int], absent: dict[str, int]
) -> list[str]:
    """Return what was taken for a class, what for missing, and how many rows that leaves out."""
    notes = [
        f"'{word}' ({counted(n, 'row')}) is a class of its own. If it means that the target is "
        f"missing, {_fix(word)}: training then drops these rows"
        for word, n in kept.items()
    ]
    if absent:
        notes.append(words_question(absent, "numbers" if column.numbers else "labels"))
    empty = {word: n for word, n in rows.items() if word in MISSING and word not in kept}
    lost = sum(empty.values()) + sum(absent.values())
    if lost:
        shown = ", ".join(f"'{w}' {n:,}" if w else f"empty {n:,}" for w, n in empty.items())
        why = f" ({shown})" if empty else ""
        verbs = ("has", "is") if lost == 1 else ("have", "are")
        notes.append(
            f"{lost:,} of {column.rows:,} rows {verbs[0]} no target{why} and {verbs[1]} dropped"
        )
    return notes


def _fix(word: str) -> str:
    """Return what to type if a word that is a class means missing."""
    return (
        "remove that code"
        if word in MISSING
        else f"""remove that code, and add absent: ["{word}"]"""
    )


def _whole_classes(reading: Reading) -> Column:
    """Return a column of numbers that counts 1 and 1.0 once, as far as all are listed."""
    column = reading.column
    if not column.whole_codes or len(reading.levels) > MOST_LABELS:
        return column
    return replace(column, distinct=len({whole_code(level) for level in reading.levels}))


# ---------------------------------------------------------------- spellings of one label


def _spelt(reading: Reading, task: str) -> Reading:
    """Return a reading with other spellings of a label under the most frequent one."""
    alike = alike_labels(reading.levels, same_letters)
    merged = {other: group[0] for group in alike for other in group[1:]}
    if merged and len(reading.levels) - len(merged) >= 2:
        levels: dict[str, int] = defaultdict(int)
        for label, n in reading.levels.items():
            levels[merged.get(label, label)] += n
        notes = tuple(
            f"{_counted(group, reading.levels)} are read as one class, '{group[0]}'. If they "
            "differ, remove them from spellings and list each under codes"
            for group in alike
        )
        column = replace(reading.column, distinct=len(levels), levels=dict(levels))
        reading = replace(
            reading, column=column, levels=dict(levels), spellings=merged,
            notes=(*notes, *reading.notes),
        )  # fmt: skip
    return _checked(reading, task)


def _checked(reading: Reading, task: str) -> Reading:
    """Refuse labels that may or may not be the same class, unless a task is given."""
    doubtful = alike_labels(reading.levels, same_words)
    if not doubtful:
        return reading
    shown = "; ".join(_counted(group, reading.levels) for group in doubtful[:3])
    if not task:
        raise DataError(
            f"the target '{reading.column.name}' has labels that may be one class: {shown}; write "
            "each class in one way in the file, or say that they differ with TASK=multiclass "
            "(TASK=binary where there are two)"
        )
    first, second = doubtful[0][:2]
    note = (
        f"{shown} are different classes. If they are one class, declare spellings: "
        f'{{"{second}": "{first}"}} and remove that code'
    )
    return replace(reading, notes=(note, *reading.notes))


def _counted(group: list[str], levels: Mapping[str, int]) -> str:
    return both(f"'{label}' ({levels[label]:,})" for label in group)


def alike_labels(levels: Mapping[str, int], key: Callable[[str], str]) -> list[list[str]]:
    """Return groups of labels of one key, the most frequent label of each first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(levels, key=lambda label: (-levels[label], label)):
        groups[key(label)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def same_letters(label: str) -> str:
    """Return a label without case, blanks, final dots and the way its letters are composed."""
    plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split()).rstrip(". ")
    return plain or label


def same_words(label: str) -> str:
    """Return a label's letters and digits alone, without accents; y, yes and true are one word."""
    plain = same_letters(label)
    number = re.fullmatch(r"([+-]?\d+)\.0*", plain)
    plain = number[1] if number else plain
    parts = unicodedata.normalize("NFKD", plain)
    bare = "".join(sign for sign in parts if not unicodedata.combining(sign))
    known = next((min(words) for words in _SYNONYMS if plain in words or bare in words), None)
    if known or re.search(r"\d", bare):  # 1-2 and 12, -1 and 1 differ
        return known or bare
    return re.sub(r"[\W_]+", "", bare) or bare


def spelling_question(levels: Mapping[str, int]) -> str:
    """Return a question about a feature's levels that may be spellings of one; empty without."""
    if len(levels) > MOST_LABELS:
        return ""
    alike = [*alike_labels(levels, same_letters)] or alike_labels(levels, same_words)
    if not alike:
        return ""
    shown = "; ".join(_counted(group, levels) for group in alike[:3])
    more = f" and {len(alike) - 3} more such groups" if len(alike) > 3 else ""
    example = f'spellings: {{"{alike[0][1]}": "{alike[0][0]}"}}'
    return (
        f"{shown}{more} may be spellings of one level. They stay different levels. To read them "
        f"as one, declare {example} and remove that code"
    )


def class_places(labels: Iterable[str], reading: Reading) -> NDArray[np.float64]:
    """Return a number for each distinct text: that of its class, NaN where it is none."""
    names = [reading.spellings.get(label, label) for label in labels]
    known: dict[str, int] = {}
    places = [known.setdefault(name, len(known)) for name in names]
    absent = [name in reading.missing for name in names]
    return np.where(absent, np.nan, np.array(places, dtype=np.float64))
