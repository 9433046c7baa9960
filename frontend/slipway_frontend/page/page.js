"use strict";

const TINY_PX = 64; // smaller images are shown as the pixels they are
const SHOWN_LABELS = 5;
const main = document.getElementById("main");
const list = document.getElementById("models");
const state = document.getElementById("state");

/** An element with attributes and children; text is only ever text, so nothing a model says can become markup. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The server's JSON, or an Error that holds its one line. */
async function ask(path, options = {}) {
  const started = performance.now();
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The frontend does not answer. Is it still running?"), { title: "No answer" });
  }
  const tookMs = performance.now() - started;
  const requestId = answer.headers.get("X-Request-ID");
  let body = null;
  try {
    body = await answer.json();
  } catch {
    body = { error: `The answer is no JSON (HTTP ${answer.status}).` };
  }
  if (!answer.ok) throw Object.assign(new Error(body.error || `HTTP ${answer.status}`), { status: answer.status, requestId });
  return { body, tookMs, requestId };
}

function shellQuoted(text) {
  return /^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function panel(title, ...children) {
  return el("section", { class: "panel" }, title ? el("h2", {}, title) : null, ...children);
}

/* What came of a question: answers or an error, and the curl line that asks the same. */

function bars(probabilities, label) {
  const rows = probabilities.map(([name, probability]) =>
    el("tr", { class: name === label ? "chosen" : null },
      el("th", { scope: "row", title: name }, name),
      el("td", {}, el("progress", { max: 1, value: probability, "aria-label": name })),
      el("td", {}, `${(100 * probability).toFixed(1)} %`)));
  return el("table", { class: "bars" }, el("tbody", {}, ...rows));
}

function answered(model, prediction, picture) {
  const named = prediction.file ? el("p", { class: "file" }, prediction.file) : null;
  let told;
  if ("value" in prediction) {
    const value = Number(prediction.value.toPrecision(6)).toString();
    told = [el("p", { class: "label" }, value, model.unit ? el("small", {}, ` ${model.unit}`) : null)];
  } else {
    const pairs = prediction.top
      ? prediction.top.map((entry) => [entry.label, entry.probability])
      : Object.entries(prediction.probabilities);
    told = [el("p", { class: "label" }, prediction.label), bars(pairs, prediction.label)];
  }
  const text = el("div", {}, named, ...told);
  return el("div", { class: picture ? "answer pictured" : "answer" }, picture, text);
}

function showAnswer(place, model, { body, tookMs, requestId }, curl, pictures = []) {
  const answers = body.predictions.map((prediction, at) => answered(model, prediction, pictures[at]));
  const meta = `version ${body.version} · ${tookMs.toFixed(0)} ms · request ${requestId}`;
  place.replaceChildren(panel("Answer", ...answers, el("p", { class: "meta" }, meta)), curlPanel(curl));
}

function showError(place, error, curl) {
  const made = panel(error.title || `Refused (HTTP ${error.status})`, el("p", {}, error.message));
  made.classList.add("error");
  made.setAttribute("role", "alert");
  if (error.requestId) made.append(el("p", { class: "meta" }, `request ${error.requestId}`));
  place.replaceChildren(made, ...(curl ? [curlPanel(curl)] : []));
}

function curlPanel(line) {
  const button = el("button", { class: "secondary", type: "button", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(line);
      button.textContent = "Copied";
    } catch { // no permission, or no https: select it for the person instead
      getSelection().selectAllChildren(shown);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  const shown = el("pre", { id: "curl" }, line);
  return panel("The same with curl", el("div", { class: "curl" }, shown, button));
}

/** Run one question at a time from a form; the button says that it is being asked. */
async function submit(form, place, question) {
  const button = form.querySelector(".primary");
  button.disabled = true;
  place.setAttribute("aria-busy", "true");
  try {
    await question();
  } finally {
    button.disabled = false;
    place.removeAttribute("aria-busy");
  }
}

function versionChoice(model) {
  if (model.versions.length < 2) return { element: null, query: () => [] };
  const newest = el("option", { value: "" }, `newest (${model.versions.at(-1)})`);
  const select = el("select", { name: "version" }, newest, ...model.versions.map((v) => el("option", { value: v }, v)));
  return { element: el("label", {}, "Version", select), query: () => (select.value ? [["version", select.value]] : []) };
}

function address(model, pairs) {
  const query = new URLSearchParams(pairs).toString();
  return model.ask.slice(1) + (query ? `?${query}` : ""); // relative, so that a proxy may put the page under a prefix
}

/* A form of rows: one field per feature of the card. */

function rowView(model) {
  const controls = model.inputs.map(control);
  const version = versionChoice(model);
  const place = el("div", { "aria-live": "polite", class: "answers" });
  const example = el("button", { class: "secondary", type: "button", onclick: fill }, "Fill in the example");
  const form = el("form", { novalidate: true, onsubmit: send },
    el("div", { class: "fields" }, ...controls.map((c) => c.element)),
    el("div", { class: "actions" }, el("button", { class: "primary", type: "submit" }, "Predict"),
      model.inputs.some((feature) => feature.example !== null) ? example : null, version.element));

  function fill() {
    for (const c of controls) c.reset();
  }
  function send(event) {
    event.preventDefault();
    const row = Object.fromEntries(controls.map((c) => [c.name, c.value()]).filter(([, value]) => value !== null));
    const body = JSON.stringify({ rows: [row] });
    const path = address(model, version.query());
    const headers = { "Content-Type": "application/json" };
    const url = shellQuoted(new URL(path, document.baseURI).href);
    const curl = `curl -s ${url} -H 'Content-Type: application/json' -d ${shellQuoted(body)}`;
    return submit(form, place, async () => {
      try {
        showAnswer(place, model, await ask(path, { method: "POST", headers, body }), curl);
      } catch (error) {
        showError(place, error, curl);
      }
    });
  }
  return [panel("One row", form), place];
}

/** A field for one feature; an empty one is left out of the row, and the server says if it was needed. */
function control(feature) {
  const id = `feature-${feature.name}`;
  const number = !["BYTES", "BOOL"].includes(feature.datatype);
  const whole = number && !feature.datatype.startsWith("FP");
  const input = feature.datatype === "BOOL"
    ? el("select", { id, name: feature.name }, ...["", "true", "false"].map((v) => el("option", { value: v }, v)))
    : el("input", { id, name: feature.name, type: number ? "number" : "text", step: whole ? 1 : "any", autocomplete: "off" });
  const given = feature.example === null ? "" : String(feature.example);
  input.value = given;
  const element = el("div", { class: "field" },
    el("label", { for: id }, feature.name, feature.optional ? el("span", {}, "optional") : null),
    el("div", { class: "with-unit" }, input, feature.unit ? el("span", {}, feature.unit) : null),
    feature.description ? el("small", {}, feature.description) : null);
  function value() {
    if (input.value === "") return null;
    if (feature.datatype === "BOOL") return input.value === "true";
    return number ? Number(input.value) : input.value;
  }
  return { name: feature.name, element, value, reset: () => { input.value = given; } };
}

/* Image files: chosen or dropped, shown, and sent as one batch. */

function imageView(model) {
  let files = [];
  const version = versionChoice(model);
  const place = el("div", { "aria-live": "polite", class: "answers" });
  const input = el("input", { type: "file", accept: "image/*", multiple: true, "aria-label": "image files", onchange: chosen });
  const thumbs = el("ul", { class: "thumbs" });
  const size = `${model.image.width} × ${model.image.height}`;
  const drop = el("div", { class: "drop", ondragover: over, ondragleave: out, ondrop: dropped },
    el("strong", {}, "Drop images here, or choose files"),
    el("span", {}, `any size; the model sees ${size} pixels`), input);
  const form = el("form", { novalidate: true, onsubmit: send }, drop, thumbs,
    el("div", { class: "actions" }, el("button", { class: "primary", type: "submit" }, "Classify"), version.element));

  function take(taken) {
    files = [...taken];
    thumbs.replaceChildren(...files.map((file) => el("li", {}, pictureOf(file), el("span", { title: file.name }, file.name))));
  }
  function chosen() { take(input.files); }
  function over(event) { event.preventDefault(); drop.classList.add("over"); }
  function out() { drop.classList.remove("over"); }
  function dropped(event) { event.preventDefault(); out(); take(event.dataTransfer.files); }

  function send(event) {
    event.preventDefault();
    if (!files.length) {
      showError(place, Object.assign(new Error("Choose at least one image file first."), { title: "No image" }));
      return null;
    }
    const body = new FormData();
    for (const file of files) body.append("file", file, file.name);
    const path = address(model, [...version.query(), ["top_k", String(Math.min(model.labels.length, SHOWN_LABELS))]]);
    const parts = files.map((file) => `-F ${shellQuoted(`file=@${file.name}`)}`).join(" ");
    const curl = `curl -s ${shellQuoted(new URL(path, document.baseURI).href)} ${parts}`;
    const pictures = files.map(pictureOf);
    return submit(form, place, async () => {
      try {
        showAnswer(place, model, await ask(path, { method: "POST", body }), curl, pictures);
      } catch (error) {
        showError(place, error, curl);
      }
    });
  }
  return [panel("Images", form), place];
}

function pictureOf(file) {
  const url = URL.createObjectURL(file);
  const image = el("img", { src: url, alt: "", onload: shown, onerror: unreadable });
  const picture = el("span", { class: "picture" }, image);
  function shown() {
    URL.revokeObjectURL(url);
    image.classList.toggle("tiny", image.naturalWidth <= TINY_PX);
  }
  function unreadable() {
    URL.revokeObjectURL(url);
    picture.classList.add("unreadable");
  }
  return picture;
}

/* A model without a card: its tensors, and where to send them. */

function tensorView(model) {
  const place = el("div", { class: "answers" });
  const example = { inputs: [{ name: "<name>", shape: [1], datatype: "FP32", data: [0] }] };
  ask(`v2/models/${encodeURIComponent(model.name)}`).then(({ body }) => {
    const row = (kind) => (t) => el("tr", {}, el("td", {}, kind), el("td", {}, el("code", {}, t.name)),
      el("td", {}, t.datatype), el("td", {}, el("code", {}, `[${t.shape.join(", ")}]`)));
    const head = el("tr", {}, ...["", "name", "datatype", "shape"].map((text) => el("th", { scope: "col" }, text)));
    const rows = [...body.inputs.map(row("input")), ...body.outputs.map(row("output"))];
    const first = body.inputs[0];
    if (first) example.inputs = [{ name: first.name, shape: first.shape.map((n) => Math.max(n, 1)), datatype: first.datatype, data: ["..."] }];
    const curl = `curl -s ${new URL(model.ask.slice(1), document.baseURI).href} -d ${shellQuoted(JSON.stringify(example))}`;
    place.replaceChildren(panel("Tensors", el("table", { class: "table" }, el("thead", {}, head), el("tbody", {}, ...rows))), curlPanel(curl));
  }).catch((error) => showError(place, error));
  return [el("p", { class: "empty" }, "This model was not published with a card, so it is asked with raw tensors."), place];
}

/* The whole. */

function title(model) {
  const facts = [["Task", model.task || "unknown"], [model.versions.length > 1 ? "Live versions" : "Live version", model.versions.join(", ") || "none"],
    ["Largest batch", model.max_batch_size || "no batching"]];
  if (model.labels.length) facts.push(["Classes", model.labels.length]);
  return el("div", { class: "title" }, el("h1", {}, model.name), model.description ? el("p", {}, model.description) : null,
    el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))));
}

function show(model) {
  for (const button of list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.model === model.name));
  const view = model.ask.endsWith("/predict") ? rowView : model.ask.endsWith("/classify") ? imageView : tensorView;
  main.replaceChildren(title(model), ...view(model));
  document.title = `${model.name} – slipway`;
}

function kind(model) {
  if (model.inputs.length) return `${model.task}, ${model.inputs.length} features`;
  return model.image ? "images" : "raw tensors";
}

function entry(model) {
  const pick = () => { history.replaceState(null, "", `#${encodeURIComponent(model.name)}`); show(model); };
  return el("li", {}, el("button", { type: "button", "data-model": model.name, onclick: pick }, model.name, el("small", {}, kind(model))));
}

async function showState() {
  try {
    await ask("readyz");
    state.textContent = "ready";
    state.dataset.ready = "true";
    state.title = "";
  } catch (error) {
    state.textContent = "not ready";
    state.dataset.ready = "false";
    state.title = error.message;
  }
}

async function start() {
  showState();
  setInterval(() => { if (!document.hidden) showState(); }, 10_000);
  try {
    const { body } = await ask("v1/models");
    list.replaceChildren(...body.models.map(entry));
    const first = body.models.find((model) => location.hash === `#${encodeURIComponent(model.name)}`) || body.models[0];
    if (first) show(first);
    else main.replaceChildren(el("p", { class: "empty" }, "Triton serves no model yet. Publish one: slipway export <model>"));
  } catch (error) {
    showError(main, error);
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

function keptTheme(theme) {
  try {
    if (theme) localStorage.setItem("slipway-theme", theme);
    return localStorage.getItem("slipway-theme");
  } catch { // storage can be switched off
    return null;
  }
}

document.getElementById("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  keptTheme(theme);
  setTheme(theme);
});
setTheme(keptTheme() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
start();
