"""The Markdown descriptions of registered models and versions, as MLflow's pages show them.

Each is generated from stages and tags alone, so every move can write it again. It stands between
two marks; what a person writes outside of them stays.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator

from lockstep.errors import listed
from lockstep.registry.record.events import LONGEST_TAG
from lockstep.registry.record.registered_models import IN_USE, Model
from lockstep.registry.store.json_tags import json_tag
from lockstep.registry.store.names import COMMITTED_TAG, SCRIPT
from lockstep.registry.store.versions import Version

BEGIN = "<!-- lockstep: each move writes this again; your own text goes below the end mark -->"
END = "<!-- lockstep: end -->"
LONGEST = LONGEST_TAG
_BLOCK = re.compile(r"<!-- lockstep: each move.*?<!-- lockstep: end -->", re.DOTALL)
_PARTS = ("validation", "test")
_MOST_METRICS = 20


def model_description(model: Model) -> str:
    """Return the description a registered model is to have, by its newest version and those in use.

    A move reads no others.
    """
    return _within(model.description, _of_model(model))


def version_description(version: Version) -> str:
    """Return the description a version is to have."""
    return _within(version.description, _of_version(version))


def outdated(model: Model) -> list[str]:
    """Name the descriptions of a model that its stages and tags contradict."""
    old = [v.version for v in model.versions if v.description != version_description(v)]
    named = [f"version{'s' * (len(old) > 1)} {listed(old)}"] if old else []
    return ["the model", *named] if model.description != model_description(model) else named


def _within(there: str, lines: Iterable[str]) -> str:
    """Put generated lines in the place of older ones; text that leaves no room stays alone."""
    block = "\n".join([BEGIN, *lines, END])
    if _BLOCK.search(there):
        whole = _BLOCK.sub(lambda _: block, there, count=1)
    else:
        whole = f"{block}\n\n{there}" if there.strip() else block
    return whole if len(whole) <= LONGEST else there


def _of_model(model: Model) -> Iterator[str]:
    shown = [v for stage in IN_USE for v in model.in_stage(stage)] + [*model.versions[-1:]]
    problems, types = (_values(shown, key) for key in ("problem", "type"))
    about = f": {' and '.join(types)} for the problem {' and '.join(problems)}" if problems else ""
    yield f"**{model.name}**{about}."
    yield from ("", "| stage | versions |", "|---|---|")
    for stage in IN_USE:
        if there := [v.version for v in model.in_stage(stage)]:
            yield f"| {stage} | {listed(there[::-1])} |"
    if model.versions:
        yield f"| the newest ({model.newest.stage}) | {model.newest.version} |"
    name = shlex.quote(model.name)
    yield from ("", "Look, move, go back:", "", "```")
    yield f"{SCRIPT} list-versions --model-name {name}"
    yield f"{SCRIPT} promote --model-name {name} --version N --stage Staging"
    yield f"{SCRIPT} promote --model-name {name} --version N"
    yield f"{SCRIPT} rollback --model-name {name}"
    yield "```"
    if "production" in model.aliases:
        yield from ("", f"The version in Production is `models:/{model.name}@production`.")


def _values(versions: Iterable[Version], key: str) -> list[str]:
    return sorted({value for v in versions if (value := v.tag(key))})


def _of_version(version: Version) -> Iterator[str]:
    kind, problem = version.tag("type"), version.tag("problem")
    about = f": {kind} for the problem {problem}" if kind and problem else ""
    yield f"**{version.title}**{about}. Stage: **{version.stage}**."
    yield from _metrics(version)
    yield ""
    yield from (f"- **{title}:** {text}" for title, text in _facts(version) if text)
    yield from ("", "Move it:", "", "```")
    yield from _moves(version)
    yield "```"


def _metrics(version: Version) -> Iterator[str]:
    found = version.scores
    names = [key.removeprefix("test_") for key in found if key.startswith("test_")]
    if not names:
        return
    ends = json_tag(version, "test_intervals") or {}
    head = ["metric", *_PARTS, *(["95 % interval (test)"] if ends else [])]
    yield from ("", f"| {' | '.join(head)} |", "|---" * len(head) + "|")
    for name in names[:_MOST_METRICS]:
        cells = [_short(found.get(f"{part}_{name}")) for part in _PARTS]
        if ends:
            cells.append(" … ".join(map(_short, ends[name])) if name in ends else "")
        yield f"| {' | '.join([name, *cells])} |"


def _facts(version: Version) -> Iterator[tuple[str, str]]:
    yield "Data", _data(version)
    yield "Code", _code(version)
    yield "Decision", _decision(version)
    yield "Model digest", _code_word(version.tag("model_digest"))
    yield "Run", _code_word(version.run_id)
    yield "Limits of use", " ".join(_limits(version))


def _data(version: Version) -> str:
    raw, source = version.tag("data_dvc_hash"), version.tag("data_source")
    known = f", DVC hash `{raw}`" if raw and raw != "unknown" else ""
    return f"{version.tag('dataset') or version.tag('problem')} ({source}){known}" if source else ""


def _code(version: Version) -> str:
    commit = version.tag("git_commit")
    if not commit:
        return ""
    if not commit.isalnum():
        return f"no commit ({commit})"
    later = version.tags.get(COMMITTED_TAG)
    known = ", with changed inputs" if version.dirty else ""
    changed = ", not compared with the inputs" if version.dirty is None else known
    return f"commit `{commit}`{changed}{f', committed later as `{later}`' if later else ''}"


def _decision(version: Version) -> str:
    if version.threshold is not None:
        scale = version.tag("score_scale")
        return f"threshold {version.threshold:g}{f' on the {scale} scale' if scale else ''}"
    if classes := json_tag(version, "classes"):
        costs = json_tag(version, "costs")
        how = "lowest expected cost" if costs else "most probable class"
        more = f"; costs by actual and predicted class: `{json.dumps(costs)}`" if costs else ""
        return f"{how} of {len(classes)}{more if len(more) < 1000 else ''}"
    if interval := json_tag(version, "interval"):
        return f"each value with an interval that holds {interval['coverage']:.0%} of new rows"
    return ""


def _limits(version: Version) -> Iterator[str]:
    if version.scores:
        yield "The metrics hold for rows like those of the data above; others were not measured."
    if version.tag("data_source") == "sample":
        yield "The data are generated, so the metrics say nothing about real rows."
    if (scale := version.tag("score_scale")) in ("balanced", "weighted"):
        yield f"Scores are on the {scale} scale and are no probabilities."
    if version.dirty and COMMITTED_TAG not in version.tags:
        yield "Its inputs are in no commit."
    if version.pruned is not None:
        yield f"Its files were pruned (event {version.pruned}): rebuild it before it is served."


def _moves(version: Version) -> Iterator[str]:
    chosen = f"--model-name {shlex.quote(version.name)} --version {version.version}"
    if version.pruned is not None:
        yield f"{SCRIPT} reproduce {chosen}"
        return
    if version.stage == "Production":
        yield f"{SCRIPT} rollback --model-name {shlex.quote(version.name)}"
    else:
        yield f"{SCRIPT} promote {chosen}"
    if version.stage == "None":
        yield f"{SCRIPT} promote {chosen} --stage Staging"
    if version.stage != "Archived":
        yield f"{SCRIPT} archive {chosen}"


def _code_word(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
