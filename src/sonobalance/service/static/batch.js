// Many images: a table, one row each, and the same as CSV. Names stay in this page.

import { $, make, percent, save } from "./dom.js";

let items = [];
let classes = [];
let open = () => {};

export function startBatch(names, onOpen) {
  classes = names;
  open = onOpen;
  const heads = ["Image", "Predicted", "Set", ...classes, "Remark"];
  $("head").replaceChildren(...heads.map((text) => make("th", { scope: "col", text })));
  $("csv").addEventListener("click", () => save("predictions.csv", new Blob([csv()], { type: "text/csv" })));
  $("clear").addEventListener("click", () => { items = []; redraw(); $("result").hidden = true; $("status").textContent = ""; });
}

export function add(item) {
  items.push(item);
  redraw();
}

export function redraw(current = null) {
  $("batch").hidden = items.length < 2;
  $("rows").replaceChildren(...items.map((item) => row(item, item === current)));
}

function row(item, current) {
  const { answer, error } = item;
  const button = make("button", { text: item.name, type: "button" });
  button.disabled = !answer;
  button.addEventListener("click", () => { redraw(item); open(item); });
  const shares = classes.map((name) => make("td", { class: "number", text: answer && !answer.refused ? percent(answer.probabilities[name]) : "" }));
  return make("tr", { "aria-current": String(current) },
    make("td", { class: "name", title: item.name }, button),
    make("td", { text: answer ? answer.predicted ?? "not answered" : error ? "" : "waiting" }),
    make("td", { text: answer ? answer.conformal.join(", ") : "" }), ...shares,
    make("td", { class: "words", text: error ?? (answer?.refused ? "unlike the training images" : "") }));
}

function csv() {
  const heads = ["name", "predicted", "refused", "conformal", "called", "distance", ...classes.map((name) => `p_${name}`), "error"];
  const lines = items.map(({ name, answer, error }) => [
    name, answer?.predicted ?? "", answer?.refused ?? "", answer?.conformal.join("|") ?? "",
    answer?.called.join("|") ?? "", answer?.distance ?? "",
    ...classes.map((one) => answer?.probabilities[one] ?? ""), error ?? "",
  ]);
  return [heads, ...lines].map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
}

// A spreadsheet would run a name that begins like a formula.
function quoted(cell) {
  const text = typeof cell === "string" && /^[=+\-@\t]/.test(cell) ? `'${cell}` : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
