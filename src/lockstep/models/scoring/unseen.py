"""Texts to predict from that did not come up in training, which a model can't tell apart."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from lockstep.problems.schema import Schema


def unseen_texts(encoder: Any, schema: Schema, table: pd.DataFrame) -> list[str]:
    """Return a line for each column of texts without codes: how many are new, with an example.

    The example names the text of the training rows that differs in capitals, signs, leading zeros
    or a final ``.0`` only, if there is one.
    """
    known = getattr(encoder, "known_levels_", {})
    columns = [c.name for c in schema.features if not c.holds_numbers and not c.codes]
    found = ((name, table[name].dropna()) for name in columns if name in known)
    return [line for name, texts in found if (line := _line(name, texts, known[name].tolist()))]


def _line(name: str, texts: pd.Series, known: list[str]) -> str:
    new = texts[~texts.isin(known)]
    if new.empty:
        return ""
    alike = {_bare(text): text for text in known}
    near = [(text, alike[bare]) for text in new.unique() if (bare := _bare(text)) in alike]
    text, other = near[0] if near else (new.iloc[0], "")
    hint = f"; training has '{other[:40]}'" if other else ""
    rows = f"{len(new):,} of {len(texts):,} values"
    return f"{name}: {rows} did not come up in training (e.g. '{text[:40]}'{hint})"


def _bare(text: str) -> str:
    """Return a text without what two tools write differently."""
    return re.sub(r"[\W_]", "", re.sub(r"\.0+$", "", text).casefold()).lstrip("0")
