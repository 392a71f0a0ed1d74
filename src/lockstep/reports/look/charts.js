"use strict";
// Draws each chart of the page: a figure holds its Vega-Lite specification as JSON.
const drawn = new Map();
function drawChart(figure) {
  const place = figure.querySelector("div"), spec = JSON.parse(figure.querySelector("script").textContent);
  spec.description ??= place.getAttribute("aria-label");  // Vega puts its own words there otherwise
  const made = vegaEmbed(place, spec, {actions: false, renderer: "svg", tooltip: {theme: "custom"}});
  drawn.set(figure.id, made);
  return made;
}
const charts = Promise.all([...document.querySelectorAll("figure.chart")].map(drawChart));
charts.then(() => { document.documentElement.dataset.charts = "drawn"; });
