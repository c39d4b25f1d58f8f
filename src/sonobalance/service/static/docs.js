// The routes of /openapi.json as a page.

import { ask, setToken } from "./api.js";
import { $, make } from "./dom.js";

function route(path, verb, about) {
  const parameters = (about.parameters ?? []).map((p) => make("li", {}, make("code", { text: p.name }), ` ${p.description ?? ""}${p.required ? " (needed)" : ""}`));
  const answers = Object.entries(about.responses).map(([code, r]) => make("li", {}, make("code", { text: code }), ` ${r.description}`));
  return make("section", { class: "card" },
    make("h2", {}, make("code", { text: `${verb.toUpperCase()} ${path}` })), make("p", { text: about.description ?? "" }),
    ...(parameters.length ? [make("h3", { text: "Parameters" }), make("ul", {}, ...parameters)] : []),
    make("h3", { text: "Answers" }), make("ul", {}, ...answers));
}

async function start() {
  const page = await ask("/openapi.json");
  $("token-form").hidden = true;
  $("routes").replaceChildren(...Object.entries(page.paths).flatMap(([path, verbs]) => Object.entries(verbs).map(([verb, about]) => route(path, verb, about))));
}

const begin = () => start().catch((error) => {
  $("token-form").hidden = error.status !== 401;
  $("routes").textContent = error.message;
});
$("token-form").addEventListener("submit", (event) => { event.preventDefault(); setToken($("token").value); begin(); });
begin();
