// One answer: image, map with its controls, probabilities, conformal set, neighbours.

import { ask } from "./api.js";
import { $, make, percent } from "./dom.js";

const GATE = "attention-gate";
let model = null;
let item = null;
let latest = 0;

export function startResult(about, fail) {
  model = about;
  for (const name of Object.keys(model.methods)) {
    if (name !== GATE) $("method").append(make("option", { value: name, text: name }));
  }
  for (const name of model.description.classes) {
    $("target").append(make("option", { value: name, text: name }));
  }
  for (const id of ["method", "target"]) $(id).addEventListener("change", () => drawMap().catch(fail));
  $("opacity").addEventListener("input", showOpacity);
  showOpacity();
}

function showOpacity() {
  const value = $("opacity").value;
  $("opacity-value").textContent = `${value} %`;
  for (const id of ["heat", "gate"]) $(id).style.opacity = value / 100;
}

export async function showResult(chosen) {
  item = chosen;
  const answer = item.answer;
  const wide = answer.image.width + " × " + answer.image.height + " pixels";
  const frames = answer.image.frames > 1 ? `, middle of ${answer.image.frames} frames` : "";
  $("result").hidden = false;
  $("file-name").textContent = `${item.name} (${wide}${frames})`;
  $("headline").textContent = answer.refused ? "Not answered" : answer.predicted;
  $("headline").classList.toggle("refused", answer.refused);
  $("sentence").textContent = answer.sentence;
  for (const id of ["image", "gate-image"]) $(id).src = answer.preview;
  $("bars").replaceChildren(...(answer.refused ? [] : bars(answer)));
  $("facts").replaceChildren(...facts(answer));
  $("neighbours").hidden = answer.neighbours.length === 0;
  $("neighbour-list").replaceChildren(...answer.neighbours.map(neighbour));
  if (answer.predicted) $("target").value = answer.predicted;
  await drawMap();
}

function bars(answer) {
  const order = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  return order.map(([name, share]) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${100 * share}%`;
    return make("div", { role: "row", class: answer.conformal.includes(name) ? "inside" : "outside" },
      make("span", { role: "rowheader", text: name }),
      make("span", { role: "presentation", class: "track" }, fill),
      make("span", { role: "cell", class: "value", text: percent(share) }));
  });
}

function facts(answer) {
  const conformal = model.description.conformal;
  const rows = [];
  if (!answer.refused && conformal) {
    rows.push([`Set at ${Number((100 * conformal.coverage_wanted).toPrecision(4))} %`, answer.conformal.join(", ") || "empty"]);
    rows.push(["Called", answer.called.join(", ") || "no class reaches its threshold"]);
  }
  if (answer.distance !== null) {
    const limit = answer.limit === null ? "" : ` (answered up to ${answer.limit.toFixed(2)})`;
    rows.push(["Unlike training", answer.distance.toFixed(2) + limit]);
  }
  return rows.flatMap(([name, text]) => [make("dt", { text: name }), make("dd", { text })]);
}

function neighbour(found) {
  return make("li", {}, make("img", { src: found.png, alt: `Training image, ${found.label}` }),
    make("span", { text: `${found.label}, ${found.distance.toFixed(2)}` }));
}

async function drawMap() {
  const mine = (latest += 1);
  const hide = item.answer.refused;
  $("heat").hidden = true;
  $("legend").hidden = true;
  $("gate-figure").hidden = true;
  for (const id of ["method", "target", "opacity"]) $(id).disabled = hide;
  $("map-title").textContent = hide ? "The image as it was read" : "Evidence";
  $("map-sentence").textContent = "";
  if (hide) return;
  const method = $("method").value;
  const wanted = new URLSearchParams({ method, target: $("target").value });
  const found = await ask(`/explain?${wanted}`, { body: item.file });
  if (mine !== latest) return;
  $("heat").src = found.png;
  $("heat").alt = `${found.method}: evidence for ${found.target}`;
  $("heat").hidden = false;
  $("legend").hidden = found.low >= 0;
  $("map-title").textContent = `${found.method}, evidence for ${found.target}`;
  $("map-sentence").textContent = found.sentence;
  if (!(GATE in model.methods)) return;
  const gate = await ask(`/explain?${new URLSearchParams({ method: GATE })}`, { body: item.file });
  if (mine !== latest) return;
  $("gate").src = gate.png;
  $("gate-figure").hidden = false;
}
