"use strict";
// Follows the controls with the answers of /explain and /predict. Nothing here decides or scores.
const byId = (id) => document.getElementById(id);
const make = (tag, kind, ...content) => {
  const e = document.createElement(tag);
  if (kind) e.className = kind;
  e.append(...content);
  return e;
};
// Names come from data: one such as "constructor" must not find what objects inherit.
const bare = (object) => Object.assign(Object.create(null), object);
const owned = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);
const facts = JSON.parse(byId("facts").textContent),
  form = byId("form"),
  columns = bare(facts.columns),
  classes = bare(facts.classes),
  begins = bare(facts.begins);
const WAIT = 150,
  SHOWN = 8,
  MOST_CODES = 12,
  POINTS = 61,
  HEALTH_MS = 10000;

// ---- numbers and words --------------------------------------------------------------------------
const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const shown = (v) =>
  typeof v !== "number"
    ? String(v)
    : Math.abs(v) >= 1000
      ? v.toFixed(0)
      : String(+v.toPrecision(4));
const signed = (text) => (text.startsWith("-") ? "\u2212" + text.slice(1) : "+" + text);
const percent = (v) => `${+(100 * v).toPrecision(4)}\u00a0%`,
  width = (share) => `${+(100 * share).toFixed(3)}%`;
const short = (text, most) =>
  [...text].length > most ? [...text].slice(0, most - 1).join("") + "…" : text;
const written = (v) =>
  v === null ? "" : typeof v === "number" ? String(+v.toPrecision(12)) : String(v);
const phrase = (name) => (columns[name] ? columns[name].phrase : name);
const SCALES = {
  balanced:
    "The score is on the balanced scale: both classes weigh the same, so it is no probability.",
  weighted:
    "The score is on a weighted scale: the classes have other weights than in the data, so it is no probability.",
};
const isPlain = facts.task !== "binary" || !SCALES[facts.scale];
const scoreShown = (v) => (facts.task === "regression" || !isPlain ? shown(v) : percent(v));
const scoreName = facts.task === "regression" ? "Value" : isPlain ? "Probability" : "Score";
const unit = facts.unit ? ` (${facts.unit})` : "";
const className = (label) =>
  classes[label] && classes[label] !== label ? `${label}: ${classes[label]}` : String(label);
function meant(name, value) {
  if (value === null) return "not known";
  const column = columns[name],
    pair = (column.codes || []).find(([code]) => code === written(value));
  return (pair && pair[1]) || `${written(value)}${column.unit ? " " + column.unit : ""}`;
}

// ---- the record ---------------------------------------------------------------------------------
const control = (name) => form.querySelector(`.control[data-name="${CSS.escape(name)}"]`);
const field = (name) => byId("field-" + name);
function valueOf(name) {
  const text = field(name).value.trim();
  if (text === "") return null;
  return columns[name].number && isFinite(Number(text)) ? Number(text) : text;
}
const record = () =>
  Object.fromEntries(Object.keys(begins).map((name) => [name, valueOf(name)]));
function setValue(name, value) {
  const e = field(name),
    text = typeof value === "object" && value !== null ? JSON.stringify(value) : written(value);
  if (e.tagName === "SELECT" && ![...e.options].some((one) => one.value === text)) {
    // A link's code that the schema doesn't have is shown, with its fault at the field.
    const other = make("option", "", text === "" ? "(empty)" : short(text, 60));
    other.value = text;
    other.dataset.stranger = "1";
    e.append(other);
  }
  e.value = text;
  moved(name);
}
function moved(name) {
  const e = field(name),
    own = control(name),
    slider = own.querySelector("[type=range]"),
    box = own.querySelector("[type=checkbox]"),
    value = valueOf(name);
  own.classList.toggle("not-known", value === null);
  if (slider && typeof value === "number") slider.value = value;
  if (slider)
    slider.setAttribute("aria-valuetext", value === null ? "not known" : meant(name, value));
  if (box) box.checked = value === null;
  byId("place-" + name).textContent = place(columns[name], value);
  if (e.tagName === "SELECT")
    for (const one of [...e.options]) if (one.dataset.stranger && !one.selected) one.remove();
}

// ---- where a value lies among the rows ----------------------------------------------------------
function share(part, all) {
  const p = (100 * part) / all;
  return p > 0 && p < 1
    ? "under 1\u00a0%"
    : p > 99 && p < 100
      ? "over 99\u00a0%"
      : `${Math.round(p)}\u00a0%`;
}
const sum = (list) => list.reduce((a, b) => a + b, 0);
function place(column, value) {
  const counts = column.counts;
  if (!counts) return "";
  const known = sum(counts.rows),
    all = known + counts.missing;
  if (value === null)
    return counts.missing
      ? `not known in ${share(counts.missing, all)} of rows`
      : column.missing
        ? "known in all rows"
        : "";
  if (counts.values) {
    const at = counts.values.indexOf(written(value)),
      rows = counts.rows[at < 0 ? counts.values.length : at] || 0;
    return !rows
      ? "no row has this value"
      : at < 0
        ? `rare, or in no row`
        : `${share(rows, all)} of rows have this value`;
  }
  if (typeof value !== "number" || counts.edges.length < 1) return "";
  const edges = counts.edges,
    last = edges.length,
    at = edges.filter((edge) => edge <= value).length;
  const below = sum(counts.rows.slice(0, at)),
    own = counts.rows[at],
    alone = counts.alone.includes(at);
  if (at === 0) return `among the lowest ${share(own, known)} of rows`;
  if (alone)
    return `higher than ${share(value > edges[at - 1] ? below + own : below, known)} of rows`;
  if (at === last) return `among the highest ${share(own, known)} of rows`;
  const part = (value - edges[at - 1]) / (edges[at] - edges[at - 1]);
  return `higher than about ${share(below + part * own, known)} of rows`;
}
function density(name) {
  const column = columns[name],
    counts = column.counts,
    path = control(name).querySelector("path");
  if (!path || !counts || !counts.edges || !counts.edges.length) return;
  const [low, high] = column.slider,
    many = column.integer ? Math.min(60, high - low + 1) : 60,
    step = (high - low) / many,
    mass = new Array(many).fill(0);
  const edges = counts.edges,
    end = edges.length,
    wide = column.integer ? 1 : step;
  counts.rows.forEach((rows, at) => {
    let from = at ? edges[at - 1] : Math.max(low, edges[0] - wide),
      to =
        at < end ? edges[at] : Math.max(edges[at - 1] + wide, Math.min(high, edges[at - 1] + wide));
    if (counts.alone.includes(at)) to = from + wide;
    for (let i = 0; i < many; i += 1) {
      const a = low + i * step,
        over = Math.min(to, a + step) - Math.max(from, a);
      if (over > 0) mass[i] += (rows * over) / (to - from);
    }
  });
  const most = Math.max(...mass) || 1,
    points = mass.map(
      (m, i) =>
        `V${(20 - 20 * Math.sqrt(m / most)).toFixed(1)}H${((100 * (i + 1)) / many).toFixed(1)}`,
    );
  path.setAttribute("d", `M0,20${points.join("")}V20Z`);
}

// ---- faults -------------------------------------------------------------------------------------
function faultOf(name, value) {
  const column = columns[name],
    quoted = `${name} = ${typeof value === "string" ? `'${short(value, 40)}'` : written(value)}`;
  if (value === null) return column.missing ? "" : `${name} must not be missing`;
  if (column.codes && !column.codes.some(([code]) => code === written(value)))
    return column.decimal ? "" : `${quoted} is no known code`;
  if (!column.number || column.codes) return "";
  if (typeof value !== "number") return column.decimal ? "" : `${quoted} must be a number`;
  const outside =
    value < column.low || value > column.high || (column.integer && !Number.isInteger(value));
  return outside ? `${quoted} is not among ${column.range}` : "";
}
function showFaults(found) {
  for (const name of Object.keys(columns)) {
    const e = field(name),
      fault = found[name] || "",
      at = byId("fault-" + name);
    if (fault) e.setAttribute("aria-invalid", "true");
    else e.removeAttribute("aria-invalid");
    if (at.textContent !== fault) at.textContent = fault;
    if (fault && byId("more") && byId("more").contains(e)) byId("more").open = true;
  }
}
function problem(...lines) {
  byId("problem").replaceChildren(...lines.map((line) => make("p", "fault", line)));
}
function ownFaults(given) {
  const found = Object.entries(given)
    .map(([name, value]) => [name, faultOf(name, value)])
    .filter(([, fault]) => fault);
  return bare(Object.fromEntries(found));
}
const corrected = (names) =>
  `No answer: ${names.length === 1 ? "one value does" : `${names.length} values do`} not fit (${short(names.map(phrase).join(", "), 120)}).`;
function refused(answer, status) {
  const found = Object.create(null),
    others = [];
  for (const f of answer.faults || [])
    if (f.field && columns[f.field]) found[f.field] = f.message;
    else others.push(f.message);
  showFaults(found);
  if (status === 401) {
    needKey(true);
    byId("key").focus();
  }
  const named = Object.keys(found);
  problem(named.length ? corrected(named) : answer.error || "the request was refused", ...others);
}

// ---- asking -------------------------------------------------------------------------------------
let touched = false,
  firstDigest = null,
  stagingReady = false,
  timer = 0,
  asking = false,
  again = false,
  staging = null,
  latest = null,
  keyNeeded = false,
  healthAt = 0;
const state = (value) => {
  document.documentElement.dataset.state = value;
};
function needKey(needed) {
  keyNeeded = needed;
  if (needed) byId("keys").hidden = false;
}
async function ask(path, content) {
  const headers = {"Content-Type": "application/json"},
    key = byId("key").value;
  if (key) headers["X-API-Key"] = key;
  const got = await fetch(path, {method: "POST", headers, body: JSON.stringify(content)});
  return {ok: got.ok, status: got.status, answer: await got.json()};
}
async function health() {
  healthAt = Date.now();
  const answer = await (await fetch("/health")).json();
  staging = answer.source ? (answer.source.staging ?? null) : null;
  needKey(Boolean(answer.needs_key));
  // A link sends no key, and a server without a registry has no board.
  const hasBoard = "registry_reachable" in (answer.source ?? {});
  byId("board").hidden = Boolean(answer.needs_key) || !hasBoard;
  byId("model").textContent = answer.model
    ? `Model: ${answer.model}${answer.version == null ? "" : ", version " + answer.version}. `
    : "";
}
// Runs work for the newest arguments only: those that come meanwhile replace each other.
// The promise ends with the last.
function newestOnly(work) {
  let busy = null,
    next = null;
  const loop = async () => {
    try {
      while (next) {
        const given = next;
        next = null;
        try {
          await work(...given);
        } catch (error) {
          if (!next) throw error; // else a newer one replaces what failed
        }
      }
    } finally {
      busy = null;
    }
  };
  return (...given) => {
    next = given;
    busy ??= loop();
    return busy;
  };
}
// At most one answer is asked for at a time, and the newest record follows it: the last answer
// is the last record's.
function changed() {
  again = true;
  state("waiting");
  if (!timer && !asking) timer = setTimeout(follow, WAIT);
}
async function follow() {
  timer = 0;
  again = false;
  asking = true;
  const given = record(),
    found = ownFaults(given);
  try {
    showElsewhere(given);
    showFaults(found);
    if (Object.keys(found).length) {
      problem(corrected(Object.keys(found)));
      state("faulty");
      return;
    }
    if (Date.now() - healthAt > HEALTH_MS) await health();
    if (keyNeeded && !byId("key").value) {
      problem("Enter the API key first.");
      state("faulty");
      return;
    }
    const got = await ask("/explain", given);
    if (!got.ok) {
      refused(got.answer, got.status);
      state("faulty");
      return;
    }
    problem();
    const own = (latest = {given, answer: got.answer});
    showAnswer(got.answer, given);
    const isNewest = () => latest === own && !again && !asking;
    const settled = () => {
      if (isNewest() && document.documentElement.dataset.state === "waiting") state("current");
    };
    const failed = (error) => {
      if (isNewest()) unanswered(error);
    };
    // Neither keeps the next answer waiting.
    Promise.all([versions(own), curves(own)]).then(settled, failed);
  } catch (error) {
    unanswered(error);
  } finally {
    asking = false;
    if (again && !timer) timer = setTimeout(follow, WAIT);
  }
}
const unanswered = (error) => {
  problem(`The server gave no answer: ${error.message}`);
  state("faulty");
};

// ---- the answer ---------------------------------------------------------------------------------
function meter(score, threshold) {
  const bar = make("div"),
    all = make("div", "meter", bar),
    mark = make("i"),
    label = make("span", "", `threshold ${scoreShown(threshold)}`);
  bar.style.width = width(score);
  mark.style.left = width(threshold);
  label.style.left = `clamp(4.5rem, ${width(threshold)}, calc(100% - 4.5rem))`;
  all.setAttribute("aria-hidden", "true");
  all.append(mark, label);
  return all;
}
function ofTwo(answer) {
  const of = facts.positive ? ` of “${facts.positive}”` : "";
  const side = answer.decision === null ? "near" : answer.decision ? "at or above" : "below";
  const head = make(
    "div",
    "verdict",
    make("p", "big", answer.meaning || shown(answer.decision)),
    make("p", "", `${scoreName} ${scoreShown(answer.probability)}`),
  );
  const line = make(
    "p",
    "spare",
    `${scoreName}${of}: ${side} the threshold of ${scoreShown(answer.threshold)}.`,
  );
  const more = [
    answer.decision === null ? "A person decides about scores near the threshold." : "",
    SCALES[facts.scale] || "",
  ].filter(Boolean);
  return [
    head,
    meter(answer.probability, answer.threshold),
    line,
    ...more.map((text) => make("p", "quiet spare", text)),
  ];
}
function ofSeveral(answer) {
  const rows = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]),
    all = make("div", "chances");
  for (const [label, chance] of rows) {
    const bar = make("i", label === String(answer.decision) ? "chosen" : "");
    bar.style.width = width(chance);
    all.append(make("b", "", className(label)), bar, make("span", "number", percent(chance)));
  }
  return [make("p", "big", answer.meaning || shown(answer.decision)), all];
}
function ofValue(answer) {
  const lines = [
    make(
      "div",
      "verdict",
      make("p", "big", shown(answer.prediction)),
      ...(facts.unit ? [make("p", "", `in ${facts.unit}`)] : []),
    ),
  ];
  if (answer.low !== undefined)
    lines.push(
      make(
        "p",
        "",
        `${percent(answer.coverage)} interval: ${shown(answer.low)} to ${shown(answer.high)}`,
      ),
    );
  return [...lines, make("p", "quiet spare", facts.target)];
}
const scoreOf = (answer, label) =>
  answer.probabilities
    ? owned(answer.probabilities, label ?? answer.decision)
    : (answer.prediction ?? answer.probability);
const decisionOf = (answer) =>
  answer.probabilities ? className(answer.decision) : (answer.meaning ?? "");
function showAnswer(answer, given) {
  const lines = answer.probabilities
    ? ofSeveral(answer)
    : answer.prediction !== undefined
      ? ofValue(answer)
      : ofTwo(answer);
  const origin = make(
    "p",
    "quiet spare",
    [
      answer.model,
      answer.version == null ? null : `version ${answer.version}`,
      `request ${answer.request_id}`,
    ]
      .filter(Boolean)
      .join(" · "),
  );
  const beside = byId("versions") || make("div");
  beside.id = "versions";
  beside.dataset.lags = "1";
  firstDigest ??= answer.model_digest;
  if (answer.model_digest !== firstDigest)
    origin.append(
      " · the model has changed since this page was opened; reload it for its ranges and positions",
    );
  byId("content").replaceChildren(...lines, beside, origin);
  byId("said").textContent =
    `${decisionOf(answer)} ${scoreName} ${scoreShown(scoreOf(answer))}`.trim();
  const reasons = answer.reasons || [];
  byId("reasons").replaceChildren(...reasons.map((reason) => make("li", "", reason)));
  showFall(answer, given);
}
const versions = newestOnly(async ({answer, given}) => {
  const at = byId("versions");
  if (staging === null) {
    at.replaceChildren();
    stagingReady = false;
    return;
  }
  if (!at.firstChild)
    at.append(make("p", "quiet", `Version ${staging} in Staging is being loaded …`));
  const got = await ask("/predict?stage=Staging", given);
  if (!got.ok) {
    healthAt = 0;
    stagingReady = false;
    at.replaceChildren(make("p", "quiet", `Staging: ${got.answer.error}`));
    return;
  }
  const label = answer.probabilities ? answer.decision : undefined,
    table = make("table"),
    head = table.createTHead().insertRow(),
    body = table.createTBody();
  const of = label === undefined ? "" : ` of ${className(label)}`,
    own = scoreOf(answer, label),
    other = scoreOf(got.answer, label);
  for (const [text, kind] of [
    ["version", ""],
    [scoreName.toLowerCase() + of, "number"],
    ...(answer.prediction === undefined ? [["decision", ""]] : []),
    ["difference", "number"],
  ]) {
    const th = make("th", kind, text);
    th.scope = "col";
    head.append(th);
  }
  const difference =
    isPlain && facts.task !== "regression"
      ? `${signed(trim((100 * (other - own)).toFixed(2)))} points`
      : signed(shown(other - own));
  for (const [stage, one, score, more] of [
    ["Production", answer, own, ""],
    ["Staging", got.answer, other, difference],
  ]) {
    const row = body.insertRow(),
      th = make("th", "", `${stage} ${one.version ?? ""}`.trim());
    th.scope = "row";
    row.append(
      th,
      make("td", "number", score === undefined ? "no such class" : scoreShown(score)),
      ...(answer.prediction === undefined ? [make("td", "", decisionOf(one))] : []),
      make("td", "number", score === undefined ? "" : more),
    );
  }
  at.replaceChildren(make("div", "scroll", table));
  if (latest.answer === answer) delete at.dataset.lags;
  if (!stagingReady) {
    stagingReady = true;
    await curves(latest);
  }
});

// ---- the waterfall ------------------------------------------------------------------------------
// Rounds parts so that they add up to their rounded total: the largest remainders are rounded up.
function addingUp(parts, total, digits) {
  const unit = 10 ** digits,
    exact = parts.map((v) => v * unit),
    whole = exact.map(Math.floor);
  let left = Math.round(total * unit) - sum(whole);
  const order = exact.map((v, i) => [v - whole[i], i]).sort((a, b) => b[0] - a[0]);
  for (let turn = 0; left > 0; turn += 1, left -= 1) whole[order[turn % order.length][1]] += 1;
  for (let turn = 0; left < 0; turn += 1, left += 1)
    whole[order[order.length - 1 - (turn % order.length)][1]] -= 1;
  return whole.map((v) => v / unit);
}
const SCORES = {"log-odds": "log-odds", probability: "probability", value: "value"};
function showFall(answer, given) {
  const sorted = Object.entries(answer.contributions).sort(
    (a, b) => Math.abs(b[1]) - Math.abs(a[1]),
  );
  const first = sorted.length > SHOWN + 1 ? sorted.slice(0, SHOWN) : sorted,
    rest = sorted.slice(first.length);
  const most = Math.max(
    Math.abs(answer.base),
    Math.abs(answer.margin),
    ...sorted.map(([, v]) => Math.abs(v)),
    1e-9,
  );
  const digits = Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(most)) - (most >= 1 ? 0 : 1)));
  const values = [
    answer.base,
    ...first.map(([, v]) => v),
    ...(rest.length ? [sum(rest.map(([, v]) => v))] : []),
  ];
  const parts = addingUp(values, answer.margin, digits),
    ends = [];
  parts.reduce((from, part) => {
    ends.push([from, from + part]);
    return from + part;
  }, 0);
  const totals = ends.map(([, to]) => to),
    low = Math.min(...totals),
    span = Math.max(...totals) - low || 1;
  const what = answer.margin_scale === "value" ? `value${unit}` : answer.margin_scale,
    of = answer.explained_class === undefined ? "" : ` of ${className(answer.explained_class)}`;
  const table = make("table", "fall"),
    head = table.createTHead().insertRow(),
    body = table.createTBody();
  table.append(make("caption", "", `What each feature adds to the ${what}${of}`));
  for (const [text, kind] of [
    ["feature", "of"],
    [make("span", "sr", "drawn as a bar"), ""],
    ["adds", "number"],
  ]) {
    const th = make("th", kind, text);
    th.scope = "col";
    head.append(th);
  }
  const line = (heading, kind, from, to, number, bar) => {
    const row = body.insertRow(),
      th = make("th", "", ...heading),
      block = make("div", bar),
      track = make("div", "track", block);
    th.scope = "row";
    row.className = kind;
    block.style.left = width((Math.min(from, to) - low) / span);
    if (bar !== "sum") block.style.width = width(Math.abs(to - from) / span);
    row.append(th, make("td", "", track), make("td", "number", number));
  };
  const said = (v) => signed(v.toFixed(digits));
  line(
    ["Base"],
    "base",
    parts[0],
    parts[0],
    parts[0].toFixed(digits).replace("-", "\u2212"),
    "sum",
  );
  first.forEach(([name], i) => {
    const button = make("button", "", phrase(name));
    button.type = "button";
    button.dataset.feature = name;
    button.setAttribute("aria-pressed", String(curve.name === name));
    button.title = `${columns[name].about}: show its curve`;
    line(
      [button, make("span", "is", meant(name, given[name] ?? null))],
      "part",
      ...ends[i + 1],
      said(parts[i + 1]),
      parts[i + 1] > 0 ? "up" : "down",
    );
  });
  if (rest.length)
    line(
      [`All ${rest.length} others`],
      "part",
      ...ends.at(-1),
      said(parts.at(-1)),
      parts.at(-1) > 0 ? "up" : "down",
    );
  line(
    ["Total"],
    "total",
    totals.at(-1),
    totals.at(-1),
    answer.margin.toFixed(digits).replace("-", "\u2212"),
    "sum",
  );
  const score = scoreOf(answer, answer.explained_class),
    result = body.insertRow(),
    label = make(
      "th",
      "",
      answer.calibrated == null ? `As ${scoreName.toLowerCase()}` : "After calibration",
    );
  label.scope = "row";
  label.colSpan = 2;
  result.className = "result";
  result.append(label, make("td", "number", scoreShown(answer.calibrated ?? score)));
  if (facts.task === "regression" && answer.calibrated == null) result.remove();
  byId("fall").replaceChildren(table);
  if (!curve.name) choose(sorted[0][0], false);
}

// ---- the curve ----------------------------------------------------------------------------------
const curve = {name: "", byHand: false, key: "", points: [], other: [], view: null, drawn: ""};
function choose(name, byHand) {
  curve.name = name;
  curve.byHand = curve.byHand || byHand;
  byId("pick").value = name;
  for (const button of document.querySelectorAll("#fall button"))
    button.setAttribute("aria-pressed", String(button.dataset.feature === name));
}
function spread(low, high, column) {
  if (column.integer && high - low <= 80)
    return Array.from(
      {length: Math.floor(high) - Math.ceil(low) + 1},
      (_, i) => Math.ceil(low) + i,
    );
  const found = Array.from(
    {length: POINTS},
    (_, i) => +(low + ((high - low) * i) / (POINTS - 1)).toPrecision(12),
  );
  return column.integer ? found.map(Math.round) : found;
}
function variants(name, now) {
  const column = columns[name],
    counts = column.counts;
  if (column.slider || (column.number && !column.codes && !column.categorical)) {
    const middle = typeof now === "number" ? now : 0,
      far = Math.abs(middle) || 1;
    const [low, high] = column.slider || [
      Math.max(middle - far, column.low ?? -Infinity),
      Math.min(middle + far, column.high ?? Infinity),
    ];
    const all = [...spread(low, high, column), ...(typeof now === "number" ? [now] : [])];
    return {
      values: [...new Set(all)].filter((v) => !faultOf(name, v)).sort((a, b) => a - b),
      all: true,
    };
  }
  const codes = column.codes
    ? column.codes.map(([code]) => code)
    : counts && counts.values
      ? counts.values
      : [];
  const rows = (code) =>
    counts && counts.values ? counts.rows[counts.values.indexOf(code)] || 0 : 0;
  const frequent =
    codes.length > MOST_CODES
      ? [...codes].sort((a, b) => rows(b) - rows(a)).slice(0, MOST_CODES)
      : codes;
  const kept = new Set([...frequent, ...(now === null ? [] : [written(now)])]);
  const ordered = [
    ...codes.filter((code) => kept.has(code)),
    ...[...kept].filter((code) => !codes.includes(code)),
  ];
  const typed = ordered.map((code) => (column.number ? Number(code) : code));
  return {
    values: column.missing ? [...typed, null] : typed,
    all: frequent === codes,
    of: codes.length,
  };
}
const curves = newestOnly(async ({given, answer}) => {
  const name = curve.name,
    now = given[name],
    label = answer.probabilities ? answer.decision : undefined;
  const {values, all, of} = variants(name, now),
    isLine = Boolean(columns[name].slider) || (all && of === undefined);
  const key = JSON.stringify([
    name,
    {...given, [name]: columns[name].slider ? "" : now}, // else the range depends on the value
    answer.model_digest,
    answer.threshold,
    stagingReady && staging,
    label,
  ]);
  const known = curve.points.length && curve.key === key;
  if (!known) {
    const records = values.map((value) => ({...given, [name]: value}));
    const both = await Promise.all([
      ask("/predict?log=0", records),
      stagingReady ? ask("/predict?stage=Staging", records) : null,
    ]);
    if (!both[0].ok) {
      noCurve(`No curve: ${both[0].answer.error}`);
      return;
    }
    const read = (got) =>
      got && got.ok
        ? got.answer.predictions.map((one, i) => ({
            x: values[i],
            y: scoreOf(one, label),
            low: one.low,
            high: one.high,
          }))
        : [];
    Object.assign(curve, {key, points: read(both[0]), other: read(both[1])});
  }
  const more = all ? "" : ` The ${MOST_CODES} most frequent of ${of} values are drawn.`;
  const lines = !curve.other.length
    ? ""
    : isLine
      ? " Solid: Production; dashed: Staging."
      : " Bars: Production; small marks: Staging.";
  const cut = answer.threshold === undefined ? "" : " The dashed grey line is the threshold.";
  byId("curve-caption").textContent = `All other features as in the record.${cut}${lines}${more}`;
  if (!known) tabulate(name);
  await draw(name, isLine, now, scoreOf(answer, label), answer.threshold);
});
function noCurve(message) {
  curve.view?.finalize();
  Object.assign(curve, {key: "", points: [], other: [], view: null, drawn: ""});
  const at = byId("curve-place");
  at.replaceChildren();
  at.setAttribute("aria-label", "no curve");
  delete at.dataset.drawn;
  byId("curve-values").querySelector("div").replaceChildren();
  byId("curve-caption").textContent = message;
}
function tabulate(name) {
  const table = make("table"),
    head = table.createTHead().insertRow(),
    body = table.createTBody();
  for (const [text, kind] of [
    [phrase(name), ""],
    [scoreName.toLowerCase(), "number"],
    ...(curve.other.length ? [["in Staging", "number"]] : []),
  ]) {
    const th = make("th", kind, text);
    th.scope = "col";
    head.append(th);
  }
  curve.points.forEach((point, i) => {
    const row = body.insertRow(),
      other = curve.other[i];
    row.append(
      make("td", "", meant(name, point.x)),
      make("td", "number", String(point.y)),
      ...(other ? [make("td", "number", String(other.y))] : []),
    );
  });
  byId("curve-values").querySelector("div").replaceChildren(table);
}
const quiet = {
  labelColor: "var(--quiet)",
  titleColor: "var(--quiet)",
  domainColor: "var(--edge)",
  tickColor: "var(--edge)",
  gridColor: "var(--edge)",
  titleFontWeight: "normal",
  labelFontSize: 11,
  titleFontSize: 11,
};
function spec(name, isLine, content) {
  const title = short(phrase(name) + (columns[name].unit ? ` (${columns[name].unit})` : ""), 60),
    score = scoreName + (facts.task === "regression" ? unit : "");
  const x = {
    field: "x",
    type: "quantitative",
    title,
    scale: {zero: false, nice: false},
    axis: {tickCount: 6, grid: false, ...(columns[name].integer ? {format: ".12~g"} : {})},
  };
  const y = {
    field: "y",
    type: "quantitative",
    title: short(score, 30),
    scale: {zero: false},
    axis: {tickCount: 5, ...(isPlain && facts.task !== "regression" ? {format: "~%"} : {})},
  };
  const byLine = [
    {
      data: {name: "points"},
      mark: {type: "area", color: "var(--c1)", opacity: 0.15},
      encoding: {x, y: {...y, field: "low"}, y2: {field: "high"}},
    },
    {
      data: {name: "other"},
      mark: {type: "line", color: "var(--c2)", strokeDash: [6, 3], strokeWidth: 1.5},
      encoding: {x, y},
    },
    {
      data: {name: "points"},
      mark: {type: "line", color: "var(--c1)", strokeWidth: 2.2, tooltip: true},
      encoding: {x, y},
    },
    {
      data: {name: "cut"},
      mark: {type: "rule", color: "var(--line)", strokeDash: [3, 3]},
      encoding: {y},
    },
    {data: {name: "now"}, mark: {type: "rule", color: "var(--ink)", opacity: 0.35}, encoding: {x}},
    {
      data: {name: "now"},
      mark: {type: "point", filled: true, size: 90, color: "var(--ink)", opacity: 1},
      encoding: {x, y},
    },
  ].slice(content.points.some((point) => point.low !== undefined) ? 0 : 1);
  const code = {field: "x", type: "nominal", sort: null, title: null, axis: {labelLimit: 190}},
    score1 = {...y, axis: {...y.axis, grid: true}, scale: {zero: true}};
  const byCode = [
    {
      data: {name: "points"},
      mark: {type: "bar", height: 9, color: "var(--c1)", tooltip: true},
      encoding: {
        y: code,
        x: score1,
        opacity: {condition: {test: "datum.now", value: 1}, value: 0.45},
      },
    },
    {
      data: {name: "other"},
      mark: {type: "tick", color: "var(--c2)", thickness: 3, size: 15},
      encoding: {y: code, x: score1},
    },
    {
      data: {name: "now"},
      mark: {type: "point", filled: true, size: 60, color: "var(--ink)", opacity: 1},
      encoding: {y: code, x: score1},
    },
    {
      data: {name: "cut"},
      mark: {type: "rule", color: "var(--line)", strokeDash: [3, 3]},
      encoding: {x: score1},
    },
  ];
  return {
    width: "container",
    autosize: {type: "fit", contains: "padding"},
    height: isLine ? 190 : 45 + 19 * curve.points.length,
    layer: (isLine ? byLine : byCode).filter((one) => content[one.data.name].length),
    datasets: content,
    config: {background: null, view: {stroke: null}, axis: quiet, font: "system-ui, sans-serif"},
  };
}
async function draw(name, isLine, now, score, threshold) {
  if (typeof vegaEmbed === "undefined") return;
  const shownAs = (() => {
    const used = new Map();
    return (v) => {
      if (isLine) return v;
      const text = short(meant(name, v), 34),
        key = written(v);
      if (!used.has(text)) used.set(text, key);
      return used.get(text) === key ? text : short(`${key}: ${text}`, 34);
    };
  })();
  const points = curve.points
    .filter((point) => !isLine || point.x !== null)
    .map((point) => ({...point, x: shownAs(point.x), now: point.x === now}));
  const other = curve.other
    .filter((point) => point.y !== undefined)
    .map((point) => ({x: shownAs(point.x), y: point.y}));
  const marks = isLine && typeof now !== "number" ? [] : [{x: shownAs(now), y: score}],
    cut = threshold === undefined ? [] : [{y: threshold}];
  const content = {points, other, now: marks, cut},
    sets = Object.keys(content).filter((set) => content[set].length),
    own = `${name} ${isLine ? "" : points.length} ${sets.join()}`,
    at = byId("curve-place");
  if (curve.drawn !== own) {
    curve.view?.finalize();
    curve.view = (
      await vegaEmbed(at, spec(name, isLine, content), {
        actions: false,
        renderer: "svg",
        tooltip: {theme: "custom"},
      })
    ).view;
    curve.drawn = own;
  } else {
    for (const set of sets) curve.view.data(set, content[set]);
    await curve.view.runAsync();
  }
  const ys = points.map((point) => point.y);
  at.setAttribute(
    "aria-label",
    `${phrase(name)} against the ${scoreName.toLowerCase()}: from ${scoreShown(Math.min(...ys))} to ${scoreShown(Math.max(...ys))}; now ${scoreShown(score)} at ${meant(name, now)}`,
  );
  at.dataset.drawn = name;
}

// ---- the record elsewhere -----------------------------------------------------------------------
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
function showAddress(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch (error) {
    // Browsers refuse many changes in a short time; a later one has the newest record.
    if (error.name !== "SecurityError") throw error;
  }
}
function showElsewhere(given) {
  const hash = "#" + encodeURIComponent(JSON.stringify(given));
  if (touched) showAddress(hash);
  byId("link").textContent = location.origin + location.pathname + hash;
  const key = keyNeeded || byId("key").value ? ` -H "X-API-Key: $API_KEY"` : "";
  byId("curl").textContent =
    `curl -s ${quote(location.origin + "/predict")} -H 'Content-Type: application/json'${key} -d ${quote(JSON.stringify(given))}`;
}
function strangers(lines) {
  byId("strangers").replaceChildren(...lines.map((line) => make("p", "fault", line)));
}
function showFirst() {
  for (const [name, value] of Object.entries(begins)) setValue(name, value);
}
function readLink() {
  strangers([]);
  if (location.hash.length < 2) return;
  let linked = null;
  try {
    linked = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  } catch {
    strangers(["The link holds no record that can be read; the first record is shown."]);
    return;
  }
  if (linked === null || typeof linked !== "object" || Array.isArray(linked)) {
    strangers(["The link holds no record; the first record is shown."]);
    return;
  }
  const unknown = Object.keys(linked).filter((name) => !columns[name]),
    absent = Object.keys(columns).filter((name) => !Object.hasOwn(linked, name));
  for (const [name, value] of Object.entries(linked)) if (columns[name]) setValue(name, value);
  const list = (names) => short(names.join(", "), 200);
  strangers([
    ...(unknown.length ? [`The link names what is no feature: ${list(unknown)}.`] : []),
    ...(absent.length ? [`Not in the link, so as in the first record: ${list(absent)}.`] : []),
  ]);
}
async function copy(button) {
  const at = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(at.textContent);
    byId("copied").textContent = "Copied.";
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(at);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    byId("copied").textContent = "Selected; copy it with the keyboard.";
    button.textContent = "Selected: copy with Ctrl-C";
  }
}

// ---- events -------------------------------------------------------------------------------------
form.addEventListener("input", (event) => {
  const own = event.target.closest(".control"),
    name = own && own.dataset.name;
  if (!name) return;
  if (event.target.type === "range") field(name).value = written(Number(event.target.value));
  if (event.target.type === "checkbox")
    field(name).value = event.target.checked
      ? ""
      : written(
          lastKnown[name] ??
            begins[name] ??
            (columns[name].slider ? Number(own.querySelector("[type=range]").value) : null),
        );
  const value = valueOf(name);
  if (value !== null) lastKnown[name] = value;
  moved(name);
  if (!curve.byHand && !faultOf(name, value)) choose(name, false);
  touched = true;
  changed();
});
const lastKnown = bare(begins);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => {
  event.preventDefault();
  strangers([]);
  showFirst();
  touched = true;
  changed();
});
byId("pick").addEventListener("change", (event) => {
  choose(event.target.value, true);
  if (latest) changed();
});
byId("fall").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) {
    choose(button.dataset.feature, true);
    changed();
  }
});
byId("keys").addEventListener("submit", (event) => {
  event.preventDefault();
  changed();
});
byId("key").addEventListener("change", () => changed());
for (const button of document.querySelectorAll("[data-copies]"))
  button.addEventListener("click", () => copy(button));
addEventListener("hashchange", () => {
  showFirst();
  readLink();
  changed();
});

// ---- begin --------------------------------------------------------------------------------------
for (const [name, column] of Object.entries(columns)) {
  byId("pick").append(new Option(short(column.phrase, 60), name));
  const list = byId("list-" + name);
  if (list) list.append(...column.counts.values.map((value) => new Option(value)));
  density(name);
  moved(name);
}
readLink();
addEventListener("load", () => changed()); // the script of the charts is there by then
