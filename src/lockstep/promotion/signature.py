"""Which requests the reader of a schema takes, and that of another one refuses."""

from __future__ import annotations

from lockstep.data.records import RowReader, other_columns
from lockstep.data.values import fit_check, missing_texts, range_words, read_texts
from lockstep.errors import listed
from lockstep.problems.schema import Column, Schema


def input_faults(old: Schema, new: Schema) -> list[str]:
    """Return which requests of an old schema the reader of a new one refuses, names first.

    It wants every feature, takes no name that the schema doesn't know, and checks each value.
    """
    reader = RowReader(new)
    now = dict(reader.names_of(tuple(old.feature_names)).kept)
    added = [name for name in new.feature_names if name not in now.values()]
    faults = [f"{name} is new, and every request must have it" for name in added]
    faults += [f"{name} is no feature any more" for name in now if now[name] not in new.columns]
    others = {name: now.get(own) for name, own in old.feature_aliases.items()}
    for name, meant in (others | dict.fromkeys(other_columns(old))).items():
        if dict(reader.names_of((name,)).kept).get(name) != meant:
            faults.append(f"{name} in a request is not read as before")
    pairs = [
        (old.columns[name], new.columns[now[name]]) for name in now if now[name] in new.columns
    ]
    return [*faults, *(fault for pair in pairs for fault in value_faults(*pair))]


def value_faults(old: Column, new: Column) -> list[str]:
    """Return what the reader took for a column, and does not take for the one in its place."""
    name = new.name
    if old.holds_numbers != new.holds_numbers:
        was, now = ("a number" if column.holds_numbers else "text" for column in (old, new))
        return [f"{name} was {was}, is {now}"]
    if old.missing and not new.missing:
        return [f"{name} may not be missing any more"]
    faults = []
    if new.codes and not old.codes:
        faults.append(f"{name} takes its codes only, and had none")
    elif not old.codes and _is_narrower(old, new):
        faults.append(f"{name} took {range_words(old)}, takes {range_words(new)}")
    elif gone := _taken(old, old, new) - _taken(new, old, new):
        faults.append(f"{name} does not take {listed(sorted(gone))} any more")
    if old.decimal != new.decimal and (old.decimal, new.decimal) != ("", "."):
        faults.append(f"{name} in a text is read with other decimals")
    if old.made_of and (old.made_of, old.per) != (new.made_of, new.per):
        faults.append(f"{name} is not made of {', '.join(old.made_of)} as before")
    return faults


def _is_narrower(old: Column, new: Column) -> bool:
    """Tell whether the range of numbers became smaller, or holds whole numbers only now."""
    low = new.low is not None and (old.low is None or new.low > old.low)
    high = new.high is not None and (old.high is None or new.high < old.high)
    return low or high or (new.integer and not old.integer)


def _taken(column: Column, *both: Column) -> set[str]:
    """Return which texts are taken for a column, of the codes and other words of two columns."""
    words = {"true", "false"}.union(*(missing_texts(one) for one in both))
    words = words.union(*({*map(str, one.codes), *one.spellings} for one in both))
    fits = fit_check(column)
    return {text for text, value in read_texts(column, words).items() if fits(value)}
