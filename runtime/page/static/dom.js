// Elements made of tag, attributes and children. Text only ever becomes text nodes: there is no
// way in here to make markup out of data.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function replace(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Set text only if it changed: screen readers and selections are not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function say(text, kind = "") {
  const status = document.getElementById("status");
  status.className = `toast shown ${kind}`;
  status.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { status.className = "toast"; }, kind === "bad" ? 9000 : 4000);
}

/** Tell a screen reader what everybody else sees happen. */
export function speak(text) {
  const log = document.getElementById("spoken");
  log.append(el("div", {}, text));
  while (log.childElementCount > 5) log.firstChild.remove();
}

/** A heading with things at its right. */
export function heading(title, ...actions) {
  return el("div", { class: "heading" }, el("h1", {}, title), el("span", { class: "grow" }), actions);
}

export function card(title, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el("section", { class: "card", "aria-labelledby": id }, el("h2", { id }, title), children);
}

export function problemBox(error) {
  // That somebody stopped a job is no fault.
  const calm = error.code === "cancelled";
  const box = el("div", { class: `problem ${calm ? "calm" : ""}`, role: calm ? "status" : "alert" });
  fillProblem(box, error);
  return box;
}

/** Text with `marks` around commands, as text and code. */
export function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** What went wrong, where, and what to do next, of a problem document or of a step's error. */
export function fillProblem(box, error) {
  const facts = [];
  if (error.where) facts.push(el("dt", {}, "Where"), el("dd", {}, el("code", {}, error.where)));
  if (error.next_step) facts.push(el("dt", {}, "Next step"), el("dd", { class: "next" }, withCode(error.next_step)));
  if (error.code && error.code !== "cancelled") facts.push(el("dt", {}, "Code"), el("dd", {}, el("code", {}, error.code)));
  replace(box,
    el("strong", {}, error.title || "It did not work"),
    error.detail && error.detail === error.title ? null : el("p", {}, error.detail || error.message || "No detail was given."),
    facts.length ? el("dl", { class: "facts" }, facts) : null);
}
