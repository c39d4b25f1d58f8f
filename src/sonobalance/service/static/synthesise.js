// Synthetic images, marked as such, each to be saved with its provenance inside the PNG.

import { ask } from "./api.js";
import { $, make } from "./dom.js";

export async function startSynthesise() {
  const about = await ask("/generator");
  $("tab-synthesise").hidden = false;
  $("limits").textContent = about.limits;
  $("count").max = about.max_samples;
  for (const name of about.classes) $("label").append(make("option", { value: name, text: name }));
  $("sample-form").addEventListener("submit", (event) => {
    event.preventDefault();
    draw().catch((error) => { $("sample-error").textContent = error.message; $("sample-error").hidden = false; $("sample-status").textContent = ""; });
  });
}

async function draw() {
  $("sample-error").hidden = true;
  $("sample-status").textContent = "Making images …";
  const wanted = new URLSearchParams(["label", "count", "seed", "truncation"].map((id) => [id, $(id).value]));
  const onWait = (text) => { $("sample-status").textContent = text; };
  const found = await ask(`/sample?${wanted}`, { method: "POST", onWait });
  $("sample-status").textContent = `${found.images.length} synthetic images of ${found.label}, seed ${found.seed}.`;
  $("samples").replaceChildren(...found.images.map((image) => sample(image, found.label)));
}

function sample(image, label) {
  const lines = Object.entries(image.provenance).map(([name, value]) => make("div", { text: `${name}: ${value}` }));
  return make("li", {},
    make("figure", {}, make("img", { src: image.png, alt: `Synthetic image of the class ${label}` }), make("span", { class: "mark", text: "SYNTHETIC" })),
    make("details", {}, make("summary", { text: "Provenance" }), ...lines),
    make("a", { href: image.png, download: image.name, text: "Download PNG" }));
}
