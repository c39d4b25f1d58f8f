// Starts the page and brings files to the service, two at a time.

import { showAbout } from "./about.js";
import { ask, setToken } from "./api.js";
import { add, redraw, startBatch } from "./batch.js";
import { $ } from "./dom.js";
import { showResult, startResult } from "./result.js";
import { startSynthesise } from "./synthesise.js";
import { startTabs } from "./tabs.js";

const AT_ONCE = 2;
let waiting = [];
let working = 0;
let done = 0;
let total = 0;

function fail(error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
}

async function start() {
  const model = await ask("/model");
  $("token-form").hidden = true;
  $("drop").hidden = false;
  showAbout(model);
  startResult(model, fail);
  startBatch(model.description.classes, (item) => showResult(item).catch(fail));
  if (model.generator) await startSynthesise();
  listen();
  document.body.dataset.ready = "true";
}

function begin() {
  start().catch((error) => {
    if (error.status !== 401) return fail(error);
    $("drop").hidden = true;
    $("token-form").hidden = false;
    if ($("token").value) fail(error);
    $("token").focus();
  });
}

function listen() {
  $("files").addEventListener("change", () => { accept($("files").files); $("files").value = ""; });
  document.addEventListener("paste", (event) => accept(event.clipboardData.files));
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => $("drop").classList.add("over"));
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    $("drop").classList.remove("over");
    accept(event.dataTransfer.files);
  });
}

function accept(files) {
  $("error").hidden = true;
  for (const file of files) {
    const item = { name: file.name, file };
    waiting.push(item);
    total += 1;
    add(item);
  }
  work();
}

function work() {
  while (working < AT_ONCE && waiting.length) {
    working += 1;
    one(waiting.shift()).finally(() => { working -= 1; done += 1; tell(); work(); });
  }
  tell();
}

function tell() {
  if (done < total) $("status").textContent = `Asking the model … ${done} of ${total}`;
  else { $("status").textContent = total ? `${total === 1 ? "Done." : `All ${total} images done.`}` : ""; done = total = 0; }
}

async function one(item) {
  try {
    const onWait = (text) => { $("status").textContent = text; };
    item.answer = await ask("/predict?preview=true&neighbours=5", { body: item.file, onWait });
    redraw(item);
    $("drop").classList.add("small");
    if (!waiting.length) showResult(item).catch(fail);
  } catch (error) {
    item.error = error.message;
    redraw();
    fail(error);
  }
}

startTabs(document.querySelector("[role=tablist]"));
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("error").hidden = true;
  setToken($("token").value);
  begin();
});
begin();
