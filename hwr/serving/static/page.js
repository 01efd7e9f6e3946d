"use strict";
// The page: what it shows is what the server keeps; each change is sent at once, and again until it arrives.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PAUSE_MS = 600, POLL_MS = 400, AGAIN_MS = 2000, DRAG_PX = 6, STEP = 0.005;

let list = [], doubtful = 0.8, page = null, chosen = -1, zoom = 1;
let base = null;               // the chosen line as it was when it was chosen: what Escape brings back
let earlier = new Map();       // number of a line -> what it was before its changes, the last one last
let drawing = false, box = null, drag = null, timer = 0;
let saving = Promise.resolve(), unsaved = 0, uploads = 0;

// The server

class Refusal extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, method = "GET", body = undefined, type = "application/json") {
  const headers = body === undefined ? {} : { "Content-Type": type };
  const answer = await fetch(path, { method, headers, body });
  const value = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Refusal(answer.status, value.error);
  return value;
}

const at = (name, rest = "") => `/v1/work/${encodeURIComponent(name)}${rest}`;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function tell(text, bad = false, action = null) {
  const status = $("status");
  status.textContent = text;
  status.classList.toggle("bad", bad);
  if (action) {
    const button = document.createElement("button");
    button.textContent = action.label;
    button.onclick = () => { tell(""); action.run(); };
    status.append(button);
  }
}

// Run changes one after the other; while the server does not answer, try again and lose nothing.
function save(change, text = "") {
  unsaved += 1;
  tell("Saving…");
  saving = saving.then(async () => {
    for (;;) {
      try {
        await change();
        if (unsaved === 1) tell("Saved");
        break;
      } catch (error) {
        if (error instanceof Refusal) {
          if (page) await show(page.name, true);
          tell(error.message + (text && `. Not saved: ${text}`), true);
          break;
        }
        tell("The server does not answer. What you wrote is kept here and sent again; leave this page open.", true);
        await wait(AGAIN_MS);
      }
    }
  }).finally(() => { unsaved -= 1; });
  return saving;
}

// Pages

async function look() {
  let answer;
  try { answer = await ask(`/v1/work?text=${$("search").value.trim() !== ""}`); } catch (error) {
    if (error.status === 401) location.href = "/login";
    else if (!unsaved) tell("The server does not answer.", true);
    return;
  }
  list = answer.pages;
  doubtful = answer.doubtful;
  $("folder").textContent = `Kept in ${answer.folder}`;
  showList();
  $("empty").hidden = list.length > 0 || uploads > 0;
  if (!page && list.length) await show(remembered());
  else if (page && ["waiting", "reading"].includes(page.state)) await show(page.name, true);
}

const remembered = () => {
  const name = decodeURIComponent(location.hash.slice(1));
  return list.some((own) => own.name === name) ? name : list[0].name;
};

function describe(own) {
  if (own.state === "failed") return own.reason;
  if (own.state === "waiting") return "waits to be read";
  if (own.state === "reading") return own.lines ? `reading: ${own.done} of ${own.lines} lines` : "finding lines…";
  return own.lines ? `${own.corrected} of ${own.lines} lines corrected` : "no lines found";
}

function showList() {
  const focused = document.activeElement?.dataset?.page;
  $("pages").replaceChildren(...list.map((own) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const small = document.createElement("small");
    button.textContent = own.name;
    button.dataset.page = own.name;
    small.textContent = describe(own);
    small.classList.toggle("bad", own.state === "failed");
    button.append(small);
    if (own.state !== "failed" && own.state !== "waiting") {
      const bar = document.createElement("progress");
      bar.max = own.lines || 1;
      bar.value = (own.state === "reading" ? own.done : own.corrected) || 0;
      bar.setAttribute("aria-label", describe(own));
      button.append(bar);
    }
    if (page && own.name === page.name) button.setAttribute("aria-current", "page");
    button.onclick = () => show(own.name);
    item.append(button);
    return item;
  }));
  if (focused) document.querySelector(`#pages [data-page="${CSS.escape(focused)}"]`)?.focus();
}

async function show(name, again = false) {
  keep();
  let fresh;
  try { fresh = await ask(at(name)); } catch (error) { tell(error.message, true); return; }
  const turned = !page || page.name !== name || page.turn !== fresh.turn;
  if (!again) { chosen = -1; earlier = new Map(); zoomTo(1); }
  page = fresh;
  base = null;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  if (turned) {
    $("picture").alt = `Scan of ${name}`;
    $("picture").src = at(name, `/picture?turn=${page.turn}`);
  }
  for (const link of document.querySelectorAll("#downloads [data-format]")) {
    if (page.state === "read") link.href = at(name, `/file?format=${link.dataset.format}`);
    else link.removeAttribute("href");
  }
  draw();
  if (chosen >= page.lines.length) chosen = -1;
  if (chosen < 0 && page.state === "read" && page.lines.length) choose(0, false);
  else if (chosen >= 0) choose(chosen, document.activeElement?.tagName === "INPUT" && document.activeElement.id !== "search");
  showList();
}

function draw() {
  showState();
  $("lines-on-page").replaceChildren(...page.lines.map((line, n) => {
    const shape = document.createElementNS(SVG, "polygon");
    shape.setAttribute("points", outline(line).map((point) => point.join(",")).join(" "));
    shape.dataset.line = n;
    return shape;
  }));
  $("lines").replaceChildren(...page.lines.map((line, n) => {
    const item = document.createElement("li"), number = document.createElement("span");
    number.textContent = n + 1;
    number.setAttribute("aria-hidden", "true");
    item.append(number, row(n));
    return item;
  }));
  colour();
}

function showState() {
  const own = list.find((one) => one.name === page.name);
  $("state").textContent = own ? describe(own) : "";
}

const outline = ({ polygon, box: [a, b, c, d] }) => polygon.length > 2 ? polygon : [[a, b], [c, b], [c, d], [a, d]];
const isDoubtful = (line) => !line.waits && !line.corrected && line.confidences.some((own) => own < doubtful);

function colour() {
  const wanted = folded($("search").value.trim());
  page.lines.forEach((line, n) => {
    const states = { waits: Boolean(line.waits), corrected: line.corrected, doubtful: isDoubtful(line), chosen: n === chosen,
                     hit: wanted !== "" && folded(line.text).includes(wanted) };
    for (const element of [$("lines-on-page").children[n], $("lines").children[n]])
      for (const [state, on] of Object.entries(states)) element.classList.toggle(state, on);
  });
}

function marked(element, line) {
  if (!line.text) {
    element.textContent = line.waits ? "…" : "(nothing read)";
    element.classList.add("none");
    return element;
  }
  const characters = Array.from(line.text);
  const doubts = characters.map((_, n) => !line.corrected && line.confidences.length === characters.length
    && line.confidences[n] < doubtful);
  for (let start = 0; start < characters.length;) {
    let end = start + 1;
    while (end < characters.length && doubts[end] === doubts[start]) end += 1;
    const text = characters.slice(start, end).join("");
    if (doubts[start]) {
      const mark = document.createElement("mark");
      mark.textContent = text;
      element.append(mark);
    } else element.append(text);
    start = end;
  }
  return element;
}

function row(n) {
  const button = document.createElement("button");
  button.className = "line";
  button.onclick = () => choose(n);
  return marked(button, page.lines[n]);
}

// Lines

function choose(n, focus = true) {
  if (!page || page.lines[n] === undefined) return;
  keep();
  const before = $("lines").children[chosen];
  if (before && before.querySelector(".editor")) before.lastChild.replaceWith(row(chosen));
  chosen = n;
  const line = page.lines[n], item = $("lines").children[n];
  colour();
  $("lines-on-page").children[n].scrollIntoView({ block: "nearest", inline: "nearest" });
  if (page.state !== "read") return;
  base = { text: line.text, confidences: line.confidences, corrected: line.corrected };
  const editor = document.createElement("div"), line_picture = document.createElement("canvas");
  const reading = marked(document.createElement("p"), line), bar = document.createElement("div");
  const input = document.createElement("input"), remove = document.createElement("button");
  editor.className = "editor";
  bar.className = "row";
  input.value = line.text;
  input.spellcheck = false;
  input.autocomplete = "off";
  input.setAttribute("aria-label", `Text of line ${n + 1} of ${page.lines.length}`);
  input.oninput = () => { clearTimeout(timer); timer = setTimeout(keep, PAUSE_MS); };
  input.onkeydown = keys;
  remove.textContent = "✕";
  remove.title = "Remove this line (Alt Delete)";
  remove.setAttribute("aria-label", `Remove line ${n + 1}`);
  remove.onclick = removeLine;
  bar.append(input, remove);
  editor.append(line_picture, reading, bar);
  editor.onclick = (event) => { if (!event.target.closest("button")) input.focus(); };
  item.lastChild.replaceWith(editor);
  crop(line_picture, line);
  if (focus) { input.focus(); input.setSelectionRange(0, 0); }
  item.scrollIntoView({ block: "nearest" });
}

function crop(canvas, line) {
  const picture = $("picture");
  if (!picture.complete || !picture.naturalWidth) { picture.addEventListener("load", () => crop(canvas, line), { once: true }); return; }
  const points = [...outline(line), [line.box[0], line.box[1]], [line.box[2], line.box[3]]];
  const xs = points.map((point) => point[0] * picture.naturalWidth), ys = points.map((point) => point[1] * picture.naturalHeight);
  const x = Math.max(0, Math.min(...xs) - 4), y = Math.max(0, Math.min(...ys) - 4);
  const width = Math.min(picture.naturalWidth, Math.max(...xs) + 4) - x, height = Math.min(picture.naturalHeight, Math.max(...ys) + 4) - y;
  canvas.width = width;
  canvas.height = height;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Picture of the line");
  canvas.getContext("2d").drawImage(picture, x, y, width, height, 0, 0, width, height);
}

const editing = () => $("lines").querySelector(".editor input");

// Send the text of the chosen line if it was changed, or if it is `confirmed` as it is.
function keep(confirmed = false) {
  clearTimeout(timer);
  const input = editing();
  if (!input || !page || !base) return;
  const line = page.lines[chosen];
  if (input.value === line.text && !(confirmed && !line.corrected)) return;
  if (!earlier.has(chosen)) earlier.set(chosen, []);
  if (!earlier.get(chosen).includes(base)) earlier.get(chosen).push(base);
  write(chosen, input.value);
}

function write(n, text, restored = undefined) {
  const { name, lines } = page, line = lines[n], before = { ...line };
  line.text = text.normalize("NFC").trim().split(/\s+/).join(" ");
  line.corrected = !restored || restored.corrected;
  line.confidences = restored ? restored.confidences : [];
  colour();
  return save(async () => {
    const body = { text, was: before.text, ...(restored && !restored.corrected ? { confidences: restored.confidences } : {}) };
    const fresh = await ask(at(name, `/lines/${n}`), "PUT", JSON.stringify(body));
    if (page.name === name && page.lines.length === fresh.lines.length && page.lines[n].text === line.text) {
      const input = editing();
      if (input && chosen === n && input.value === text && text !== fresh.lines[n].text) input.value = fresh.lines[n].text;
      page.lines[n] = fresh.lines[n];
    }
    const own = list.find((one) => one.name === name);
    if (own) own.corrected = fresh.corrected;
    showList();
    if (page.name === name) { colour(); showState(); }
  }, text);
}

function undo() {
  clearTimeout(timer);
  const input = editing(), line = page.lines[chosen], stack = earlier.get(chosen) ?? [];
  if (input.value !== line.text && line.text === base.text) { input.value = base.text; return; }
  const restored = stack.pop();
  if (!restored) { input.value = line.text; return; }
  input.value = restored.text;
  base = restored;
  write(chosen, restored.text, restored);
  editing().closest(".editor").querySelector("p").replaceWith(marked(document.createElement("p"), { ...line, ...restored }));
}

function keys(event) {
  const plain = !event.altKey && !event.ctrlKey && !event.metaKey;
  if (event.isComposing || !plain) return;
  const moves = { Enter: event.shiftKey ? -1 : 1, ArrowDown: 1, ArrowUp: -1 };
  if (event.key === "Escape") { event.preventDefault(); undo(); }
  else if (event.key in moves) {
    event.preventDefault();
    keep(event.key === "Enter" && !event.shiftKey);
    const next = chosen + moves[event.key];
    if (next >= page.lines.length) tell("That was the last line of this page. Alt → goes to the next page.");
    else choose(Math.max(0, next));
  }
}

function removeLine() {
  if (!page || !page.lines[chosen]) return;
  const name = page.name, n = chosen, line = page.lines[n];
  keep();
  save(async () => {
    const fresh = await ask(at(name, `/lines/${n}?was=${encodeURIComponent(page.lines[n].text)}`), "DELETE");
    taken(fresh, Math.min(n, fresh.lines.length - 1));
  }).then(() => tell(`Line ${n + 1} removed.`, false,
    { label: "Undo", run: () => addLine(name, line) }));
}

function addLine(name, { box: where, text = null, polygon = [], baseline = [], confidences = null, corrected = false }) {
  const line = { box: where, text, polygon, baseline, confidences: corrected ? null : confidences };
  return save(async () => {
    const fresh = await ask(at(name, "/lines"), "POST", JSON.stringify(line));
    taken(fresh, fresh.added);
  });
}

function taken(fresh, n) {
  if (page.name !== fresh.name) return;
  page = fresh;
  base = null;
  chosen = -1;
  earlier = new Map();
  const own = list.find((one) => one.name === fresh.name);
  if (own) Object.assign(own, { lines: fresh.lines.length, corrected: fresh.corrected });
  draw();
  showList();
  if (n >= 0) choose(n);
}

// A box where a line was missed

function setDrawing(on) {
  if (on && (!page || page.state !== "read")) { tell("Lines can be added when the page is read."); return; }
  drawing = on;
  $("new").setAttribute("aria-pressed", on);
  $("view").classList.toggle("drawing", on);
  if (!on) { box = null; $("box").hidden = true; return; }
  const line = page.lines[chosen]?.box ?? [0.1, 0.05, 0.9, 0.1];
  const height = line[3] - line[1];
  placeBox([line[0], Math.min(1 - height, line[3]), line[2], Math.min(1, line[3] + height)]);
  $("box").focus();
  tell("Drag a box over the line, or move this one: arrows, Shift and arrows for its size, Enter to read it.");
}

function placeBox([a, b, c, d]) {
  box = [Math.max(0, Math.min(a, c)), Math.max(0, Math.min(b, d)), Math.min(1, Math.max(a, c)), Math.min(1, Math.max(b, d))];
  const { style } = $("box");
  $("box").hidden = false;
  style.left = `${100 * box[0]}%`;
  style.top = `${100 * box[1]}%`;
  style.width = `${100 * (box[2] - box[0])}%`;
  style.height = `${100 * (box[3] - box[1])}%`;
  if (!drag) $("box").scrollIntoView({ block: "nearest" });
}

function readBox() {
  const where = box;
  setDrawing(false);
  if (where) addLine(page.name, { box: where });
}

$("box").onkeydown = (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key === "Enter") { event.preventDefault(); readBox(); }
  else if (event.key === "Escape") { event.preventDefault(); setDrawing(false); $("new").focus(); }
  else if (event.key in moves && !event.altKey) {
    event.preventDefault();
    const [x, y] = moves[event.key].map((way) => way * STEP), [a, b, c, d] = box;
    if (event.shiftKey) placeBox([a, b, Math.max(a + STEP, c + x), Math.max(b + STEP, d + y)]);
    else if (a + x >= 0 && c + x <= 1 && b + y >= 0 && d + y <= 1) placeBox([a + x, b + y, c + x, d + y]);
  }
};

function position(event) {
  const area = $("sheet").getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

const surface = $("lines-on-page");
surface.onpointerdown = (event) => {
  if (event.button || !page) return;
  drag = { from: position(event), x: event.clientX, y: event.clientY, line: event.target.dataset.line, moved: false };
};
surface.onpointermove = (event) => {
  if (!drag || page.state !== "read" || (event.pointerType === "touch" && !drawing)) return;
  if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < DRAG_PX) return;
  if (!drag.moved) surface.setPointerCapture(event.pointerId);
  drag.moved = true;
  placeBox([...drag.from, ...position(event)]);
};
surface.onpointerup = () => {
  const done = drag;
  drag = null;
  if (!done) return;
  if (done.moved) readBox();
  else if (done.line !== undefined) choose(Number(done.line));
};
surface.onpointercancel = () => { drag = null; if (!drawing) $("box").hidden = true; };

function zoomTo(value) {
  zoom = Math.min(6, Math.max(1, value));
  $("sheet").style.width = `${100 * zoom}%`;
}

// Search

const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

function search() {
  const wanted = folded($("search").value.trim()), hits = $("hits");
  if (page) colour();
  hits.hidden = wanted === "";
  if (!wanted) return;
  const found = list.flatMap((own) => (own.text ?? "").split("\n").map((text, n) => ({ name: own.name, n, text })))
    .filter((hit) => folded(hit.text).includes(wanted));
  hits.replaceChildren(...found.slice(0, 50).map((hit) => {
    const item = document.createElement("li"), button = document.createElement("button"), small = document.createElement("small");
    button.textContent = hit.text;
    small.textContent = `${hit.name}, line ${hit.n + 1}`;
    button.append(small);
    button.onclick = async () => { hits.hidden = true; if (page.name !== hit.name) await show(hit.name); choose(hit.n); };
    item.append(button);
    return item;
  }));
  const count = document.createElement("li");
  count.textContent = found.length > 50 ? `${found.length} lines, the first 50 are shown` : `${found.length} line${found.length === 1 ? "" : "s"}`;
  count.className = "none";
  hits.append(count);
}

$("search").oninput = async () => { await look(); search(); };
$("search").onkeydown = (event) => {
  if (event.key === "Enter") $("hits").querySelector("button")?.click();
  if (event.key === "ArrowDown") { event.preventDefault(); $("hits").querySelector("button")?.focus(); }
  if (event.key === "Escape") { $("search").value = ""; search(); }
};
$("hits").onkeydown = (event) => {
  const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (event.key === "Escape") { $("hits").hidden = true; $("search").focus(); }
  if (!way) return;
  event.preventDefault();
  (document.activeElement.closest("li")?.[way]?.querySelector("button") ?? $("search")).focus();
};

// Files

async function send(files) {
  for (const file of files) {
    uploads += 1;
    tell(`Sending ${file.name}…`);
    $("empty").hidden = true;
    try {
      for (;;) {
        try {
          const { pages, doubts } = await ask(`/v1/work?name=${encodeURIComponent(file.name)}`, "POST", file, "application/octet-stream");
          tell([`${file.name}: ${pages.length} page${pages.length > 1 ? "s" : ""} added.`, ...doubts].join(" – "), doubts.length > 0);
          await look();
          if (file === files[0]) await show(pages[0]);
          break;
        } catch (error) {
          if (error.status !== 429) throw error;
          await wait(AGAIN_MS);
        }
      }
    } catch (error) {
      tell(`${file.name} was not added: ${error.message}`, true);
    }
    uploads -= 1;
  }
  await look();
}

$("add").onclick = () => $("files").click();
$("files").onchange = () => { send([...$("files").files]); $("files").value = ""; };
document.ondragover = (event) => { event.preventDefault(); $("drop").hidden = !event.dataTransfer.types.includes("Files"); };
document.ondragleave = (event) => { if (!event.relatedTarget) $("drop").hidden = true; };
document.ondrop = (event) => { event.preventDefault(); $("drop").hidden = true; send([...event.dataTransfer.files]); };

// The rest

function nextDoubtful() {
  const order = page.lines.map((_, n) => (chosen + 1 + n) % page.lines.length);
  const next = order.find((n) => isDoubtful(page.lines[n]));
  if (next === undefined) tell("No doubtful character is left on this page.");
  else choose(next);
}

function turnPage(by) {
  const next = list[list.findIndex((own) => own.name === page?.name) + by];
  if (next) show(next.name).then(() => chosen >= 0 && choose(chosen));
}

document.onkeydown = (event) => {
  const actions = { n: () => setDrawing(!drawing), d: nextDoubtful, Delete: removeLine, ArrowLeft: () => turnPage(-1), ArrowRight: () => turnPage(1) };
  if (event.altKey && !event.ctrlKey && page && actions[event.key]) { event.preventDefault(); actions[event.key](); }
  if (event.key === "Escape") for (const open of document.querySelectorAll("details[open]")) { open.open = false; open.firstElementChild.focus(); }
};
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
  if (!event.target.closest(".search")) $("hits").hidden = true;
});

// Teaching: the reader is trained on the corrected lines, in the background

const percent = (rate) => `${(100 * rate).toFixed(1)} %`;

async function lookAtAdaptation() {
  if (!$("adapt").open) return;
  let own;
  try { own = await ask("/v1/adapt"); } catch (error) { $("adapt-state").textContent = error.message; return; }
  const few = own.corrected < own.fewest, running = own.state === "running", scores = own.scores || [];
  const better = scores.length && scores[scores.length - 1].cer < scores[0].cer;
  $("adapt-begin").disabled = few || running;
  $("adapt-use").hidden = own.state !== "done";
  $("adapt-use").classList.toggle("main", better);
  $("adapt-scores").hidden = own.state !== "done";
  $("adapt-scores").tBodies[0].replaceChildren(...scores.map(({ lines, cer }) => {
    const line = document.createElement("tr");
    for (const text of [lines || "none", percent(cer)]) line.insertCell().textContent = text;
    return line;
  }));
  $("adapt-state").textContent = {
    none: `${own.corrected} lines are corrected${few ? `; ${own.fewest} are the fewest to learn from` : ""}.`,
    running: `Training, which takes up to ten minutes. ${own.told}`,
    failed: own.told,
    done: `Errors in the characters of ${own.held_out} lines that were kept aside${better ? ":" : "; the new weights are no better, correct more lines:"}`,
  }[own.state];
}

async function askAdaptation(path, done) {
  try { $("adapt-state").textContent = done(await ask(path, "POST")); } catch (error) { $("adapt-state").textContent = error.message; }
  if (path === "/v1/adapt") await lookAtAdaptation();
}

$("adapt").ontoggle = lookAtAdaptation;
$("adapt-begin").onclick = () => { keep(); saving.then(() => askAdaptation("/v1/adapt", () => "")); };
$("adapt-use").onclick = () => askAdaptation("/v1/adapt/use", (used) => {
  const without = used.without_language_model;
  return `New pages are read with the new weights${without ? `, without a language model: ${without}` : ""}.`;
});

$("new").onclick = () => setDrawing(!drawing);
$("in").onclick = () => zoomTo(zoom * 1.4);
$("out").onclick = () => zoomTo(zoom / 1.4);
window.onbeforeunload = (event) => { keep(); if (unsaved) event.preventDefault(); };

(async () => {
  for (;;) {
    await look();
    await lookAtAdaptation();
    const busy = uploads || list.some((own) => own.state === "waiting" || own.state === "reading");
    await wait(busy ? POLL_MS : 4000);
  }
})();
