// The model card, from what the bundle says about itself.

import { $, make } from "./dom.js";

export function showAbout(model) {
  const page = model.description;
  $("model-name").textContent = `${page.name} · ${page.version}`;
  const metrics = Object.entries(page.eval_metrics).filter(([, m]) => m.value !== null);
  $("card").replaceChildren(
    make("h2", { text: `${page.name}, version ${page.version}` }),
    make("p", { text: `${page.description} ${page.intended_use}` }),
    make("h3", { text: "Limits" }), make("ul", {}, ...page.limits.map((text) => make("li", { text }))),
    make("h3", { text: page.leaky ? "How well it did on test images" : "How well it did on unseen test images" }),
    table(["metric", "value", page.confidence ? `${+(100 * page.confidence).toFixed(1)} % interval` : "interval"], metrics.map(([name, m]) => [name.replaceAll("_", " "), m.value.toFixed(3), interval(m)])),
    make("h3", { text: "Training data" }),
    table(["part", ...page.classes], Object.entries(page.training_data.counts).filter(([, c]) => Object.keys(c).length)
      .map(([part, counts]) => [part, ...page.classes.map((name) => counts[name] ?? 0)])),
    make("p", { class: "muted", text: `Licence: ${page.licence}. Authors: ${page.authors}. Bundle ${model.bundle_sha256.slice(0, 16)}, format ${page.format_version}.` }));
}

const interval = (m) => (m.low === null || m.high === null ? "" : `${m.low.toFixed(3)} to ${m.high.toFixed(3)}`);

function table(heads, lines) {
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...lines.map((cells) => make("tr", {}, ...cells.map((text) => make("td", { text })))))));
}
