"""Which of two classes is the positive one, and the question that goes with the choice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from lockstep.drafting.target import same_letters
from lockstep.problems.dialects import counted

Label = int | str
_NEGATIONS = (
    "not", "non", "no", "un", "none", "without", "never", "free of",
    "pas de", "pas d", "pas", "sans", "aucun", "aucune",
    "nicht", "kein", "keine", "ohne", "sin", "sem", "nao", "senza", "geen", "niet", "zonder",
)  # fmt: skip
"""What stands before a word to deny it, in the languages that occur, without accents."""
_AFFIRMED = frozenset(
    """
    yes y true t oui vrai ja wahr si verdadero vero sim verdadeiro waar 1 + pos positive positif
    positiv positivo positief tested_positive present presence event case
    """.split()  # noqa: SIM905
)
_YES_BESIDE = frozenset({("o", "n"), ("j", "n"), ("s", "n"), ("on", "off")})
"""What means yes only beside its opposite: first letters of oui, ja, sí and sim."""
_BAD = frozenset(
    """
    bad default defaulted delinquent overdue late churn churned left lost cancelled canceled quit
    exited resigned attrited attrition fraud fraudulent anomaly anomalous abnormal outlier attack
    intrusion died dead death deceased fail failed failure faulty defect defective broken spam
    phishing malware malignant sick ill disease diseased unhealthy infected cancer tumor tumour
    stroke relapse recurrence readmitted injured fatal severe unpaid bankrupt bankruptcy insolvent
    guilty poor risky damaged unsatisfied dissatisfied poisonous toxic
    unsafe unemployed disloyal irregular invalid inactive delayed dropout dropped abandoned
    counterfeit fake forged nok ko recidivist recid charged_off
    mauvais defaut impaye parti perdu resilie annule fraude frauduleux decede mort morte deces
    echec panne malade malin grave blesse accident faillite abandon abandonne retard retarde
    schlecht ausfall gekundigt verloren storniert betrug betrugerisch gestorben tot verstorben
    fehler defekt krank bosartig schwer verletzt ausgefallen mahnung insolvenz verspatet
    malo mala impago moroso baja perdido cancelado fallecido muerto muerte fallo averia enfermo
    enferma maligno
    cattivo insolvente perso annullato frode morto morta deceduto guasto malato malata
    ruim inadimplente atrasado falecido falha doente
    slecht wanbetaling vertrokken geannuleerd overleden dood fout ziek kwaadaardig
    """.split()  # noqa: SIM905
)
"""Rare and bad things, in English, French, German, Spanish, Italian, Portuguese and Dutch."""


def positive_class(codes: Mapping[Label, int]) -> tuple[Label, str]:
    """Return the positive one of two classes (with their rows), and why it is taken for that."""
    first, second = codes
    if isinstance(first, int) and isinstance(second, int):
        return max(first, second), _why_number({first, second})
    pairs = [(first, second), (second, first)]
    for taken, other in pairs:
        if _denies(other, taken) and not _is_word(taken, other, _BAD):
            return taken, f"'{other}' is its negation"
        if (_plain(taken), _plain(other)) in _YES_BESIDE:
            return taken, f"it means yes beside '{other}'"
    for words, why in (
        (_AFFIRMED, "the word means yes"),
        (_BAD, "the word names a bad or rare event"),
    ):
        taken_of = [taken for taken, other in pairs if _is_word(other, taken, words)]
        if len(taken_of) == 1:
            return taken_of[0], why
    rare = min(codes, key=lambda code: (codes[code], str(code)))
    return rare, "it is the rarer class, and neither word shows which one matters"


def positive_question(positive: Label, why: str, codes: Mapping[Label, int]) -> str:
    """Return the question that tells which class is positive, and what the other choice does."""
    other = next(code for code in codes if code != positive)
    return (
        f"The positive class is '{positive}' ({counted(codes[positive], 'row')}): {why}. Scores, "
        f"precision and recall describe it. To predict '{other}' ({counted(codes[other], 'row')}) "
        f"instead, list '{other}' last under codes"
    )


def _why_number(codes: set[int]) -> str:
    if codes == {0, 1}:
        return "1 usually means yes"
    return "it is the greater number, and numbers do not show which class matters"


def _plain(label: Label) -> str:
    """Return a label in small letters without accents, words separated by single blanks."""
    text = unicodedata.normalize("NFKD", same_letters(str(label)))
    bare = "".join(sign for sign in text if not unicodedata.combining(sign))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split()) or bare


def _denies(label: Label, bare: Label) -> bool:
    """Tell whether a label is another one with a denial before it: notckd, non-smoker, no risk."""
    whole, word = _plain(label).replace(" ", ""), _plain(bare).replace(" ", "")
    shapes = {negation.replace(" ", "") + word for negation in _NEGATIONS}
    return len(word) > 1 and whole in shapes


def _is_word(other: Label, label: Label, words: frozenset[str]) -> bool:
    """Tell whether a label holds one of the words, not denied; the other label is not it denied."""
    plain = _plain(label)
    if {str(label).strip(), plain, plain.replace(" ", "_")} & words:
        return True
    parts = set(plain.split())
    denied = parts & {negation for negation in _NEGATIONS if " " not in negation}
    return bool(parts & words) and not denied and not _denies(label, other)
