"use strict";
// Moves the threshold: every stop of the slider is a threshold whose counts are known exactly.
const panel = document.getElementById("threshold");
if (panel) charts.then(() => {
  const facts = JSON.parse(document.getElementById("threshold-facts").textContent);
  const slider = document.getElementById("threshold-slider"), choice = document.getElementById("threshold-type");
  const put = (key, text) => { for (const e of panel.querySelectorAll(`[data-out="${key}"]`)) e.textContent = text; };
  const count = n => n.toLocaleString("en-US"), share = (a, b) => b ? `${(100 * a / b).toFixed(1)} %` : "–";
  let view = null;
  function show() {
    const own = facts.types[choice.value], [threshold, hits, misses] = own.points[Number(slider.value)];
    const missed = own.positives - hits, passed = own.negatives - misses, all = own.positives + own.negatives;
    const taken = hits + misses, precision = taken ? hits / taken : 0, recall = own.positives ? hits / own.positives : 0;
    const text = String(+threshold.toPrecision(6)), configured = Number(slider.value) === own.configured;
    put("threshold", text);
    put("configured", configured ? "the configured threshold" : "");
    slider.setAttribute("aria-valuetext", `threshold ${text}`);
    put("tp", count(hits)); put("fp", count(misses)); put("fn", count(missed)); put("tn", count(passed));
    put("negative-share", share(passed + missed, all)); put("positive-share", share(taken, all));
    put("recall", share(hits, own.positives)); put("precision", share(hits, taken));
    put("fpr", share(misses, own.negatives)); put("error", share(misses + missed, all));
    put("among-passed", share(missed, passed + missed));
    put("f1", precision + recall ? (2 * precision * recall / (precision + recall)).toFixed(4) : "–");
    if (view) view.signal("threshold", threshold).runAsync();
  }
  function choose() {
    const wanted = choice.value, own = facts.types[wanted];
    slider.max = own.points.length - 1;
    const start = own.configured === null ? own.points.findIndex(p => p[0] >= 0.5) : own.configured;
    slider.value = Math.max(start, 0);
    const ticks = document.getElementById("threshold-ticks");
    ticks.replaceChildren(...(own.configured === null ? [] : [new Option("", own.configured)]));
    document.getElementById("threshold-reset").disabled = own.configured === null;
    drawChart(document.getElementById("rates"), facts.rates[wanted]).then(made => {
      if (choice.value !== wanted) return; // another type was chosen meanwhile
      view = made.view; show(); panel.dataset.ready = wanted;
    });
    show();
  }
  slider.addEventListener("input", show);
  choice.addEventListener("change", choose);
  document.getElementById("threshold-reset").addEventListener("click", choose);
  choose();
});
