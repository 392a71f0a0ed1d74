"use strict";
// Draws each chart of the page: a figure holds its Vega-Lite specification as JSON.
// Its place has a text of its own, so that the marks of the drawing are not read out one by one.
async function drawChart(place, spec) {
  spec.description ??= place.getAttribute("aria-label") ?? undefined;  // else Vega labels it in its own words
  const made = await vegaEmbed(place, spec, {actions: false, renderer: "svg", tooltip: {theme: "custom"}});
  place.querySelector("svg").setAttribute("aria-hidden", "true");
  return made;
}
function drawFigure(figure) {
  return drawChart(figure.querySelector("div"), JSON.parse(figure.querySelector("script").textContent));
}
const charts = Promise.all([...document.querySelectorAll("figure.chart")].map(drawFigure));
charts.catch(error => { console.error(error); }).then(() => { document.documentElement.dataset.charts = "drawn"; });
