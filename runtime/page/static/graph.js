// The drawing of a program with the states of its steps. Places come from the server; a change
// of a step touches its own node and no other.

import { el, replace, setText, svg } from "./dom.js";
import { seconds, word } from "./format.js";

const RANK = ["failed", "input_required", "running", "queued", "cancelled", "succeeded"];
const STEP_PX = 60;

function curve(points) {
  let [x, y] = points[0];
  let path = `M${x} ${y}`;
  for (const [toX, toY] of points.slice(1)) {
    const half = (x + toX) / 2;
    path += y === toY ? `H${toX}` : `C${half} ${y} ${half} ${toY} ${toX} ${toY}`;
    [x, y] = [toX, toY];
  }
  return path;
}

function shortened(label, width) {
  const room = Math.max(1, Math.floor(width / 7.8));
  return label.length <= room ? label : `${label.slice(0, room - 1)}…`;
}

export class Graph {
  constructor({ onPick }) {
    this.onPick = onPick;
    this.nodes = new Map(); // id -> {drawn, g, sub, steps: Map(step id -> step), counts}
    this.byStage = new Map();
    this.view = { x: 0, y: 0, scale: 1 };
    this.layer = svg("g", {});
    this.svg = svg("svg", { role: "group", "aria-label": "Graph of the job: arrow keys walk, Enter shows a step, plus and minus zoom, 0 fits" }, this.layer);
    this.node = el("div", { class: "graph" }, this.svg);
    this.buttons = [
      ["−", "Zoom out", () => this.zoom(1 / 1.3)], ["+", "Zoom in", () => this.zoom(1.3)], ["Fit", "Show the whole graph", () => this.fit()],
    ].map(([text, label, onclick]) => el("button", { type: "button", "aria-label": label, onclick }, text));
    this.svg.addEventListener("keydown", (event) => this.keyed(event));
    this.svg.addEventListener("pointerdown", (event) => this.drag(event));
    this.svg.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.svg.addEventListener("click", (event) => {
      const g = event.target.closest(".node");
      if (g && !this.dragged) this.pick(g.dataset.id);
    });
  }

  draw(layout) {
    this.layout = layout;
    this.nodes.clear();
    this.byStage.clear();
    const boxes = layout.boxes.map((box) => [
      svg("rect", { class: "box", x: box.x, y: box.y, width: box.width, height: box.height, rx: 8 }),
      svg("text", { class: "sub", x: box.x + 12, y: box.y + 17 }, shortened(box.label, box.width - 20)),
      box.sides.map(([title, x, y]) => svg("text", { class: "side", x, y }, title)),
    ]);
    const edges = layout.edges.map(({ points }) => {
      const [x, y] = points.at(-1);
      return [svg("path", { class: "edge", d: curve(points) }), svg("path", { class: "tick", d: `M${x} ${y}l-7 -3.5v7z` })];
    });
    replace(this.layer, boxes, edges, layout.nodes.map((node) => this.add(node)));
    const first = layout.nodes[0] && this.nodes.get(layout.nodes[0].id);
    if (first) first.g.setAttribute("tabindex", "0");
    this.fit();
  }

  add(drawn) {
    const sub = svg("text", { class: "sub", x: 13, y: 36 }, drawn.kind);
    const g = svg("g", { class: `node ${drawn.kind}`, transform: `translate(${drawn.x} ${drawn.y})`, tabindex: "-1", role: "button", "data-id": drawn.id, "aria-label": `${drawn.label}, ${drawn.kind}` },
      svg("title", {}, drawn.label),
      svg("rect", { class: "face", width: drawn.width, height: drawn.height, rx: 6 }),
      svg("rect", { class: "mark", y: 6, width: 3, height: drawn.height - 12, rx: 1.5 }),
      svg("text", { x: 13, y: 20 }, shortened(drawn.label, drawn.width - 22)), sub);
    const entry = { drawn, g, sub, steps: new Map(), state: "" };
    this.nodes.set(drawn.id, entry);
    for (const stage of drawn.stages) this.byStage.set(stage, entry);
    return g;
  }

  /** Take the steps that changed: {id, stage, status, start_s, end_s}. */
  update(steps) {
    const touched = new Set();
    for (const step of steps) {
      const entry = this.byStage.get(step.id) ?? this.byStage.get(step.stage);
      if (!entry) continue;
      entry.steps.set(step.id, step);
      touched.add(entry);
    }
    for (const entry of touched) this.paint(entry);
  }

  paint(entry) {
    const counts = {};
    const visits = {};
    let spent = 0;
    for (const { status, stage, start_s: start, end_s: end } of entry.steps.values()) {
      visits[stage] = (visits[stage] ?? 0) + 1;
      counts[status] = (counts[status] ?? 0) + 1;
      if (start !== null && start !== undefined && end) spent += end - start;
    }
    const { kind, label, stages } = entry.drawn;
    let state = RANK.find((name) => counts[name]) ?? "";
    // A model call between two of its stages is still under way.
    if (state === "succeeded" && stages.length > 1 && entry.steps.size % stages.length) state = "running";
    const runs = Math.max(0, ...Object.values(visits));
    const often = runs > 1 ? ` ${runs}×` : "";
    const text = state === "succeeded" ? `done${often} in ${seconds(spent)}` : state ? word(state) + often : kind;
    const name = `node ${kind} ${state}${entry.drawn.id === this.picked ? " on" : ""}`;
    if (entry.g.getAttribute("class") !== name) entry.g.setAttribute("class", name);
    setText(entry.sub, shortened(text, 1.27 * (entry.drawn.width - 14)));
    entry.g.setAttribute("aria-label", `${label}, ${kind}, ${text}`);
    entry.state = state;
  }

  pick(id) {
    const before = this.nodes.get(this.picked);
    this.picked = this.picked === id ? null : id;
    if (before) before.g.classList.remove("on");
    if (this.picked) this.nodes.get(id).g.classList.add("on");
    this.onPick(this.picked ? this.nodes.get(id).drawn : null);
  }

  apply() {
    const { x, y, scale } = this.view;
    this.layer.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
  }

  size() {
    return [this.node.clientWidth || 800, this.node.clientHeight || 380];
  }

  /** Show all of it, or as much from its beginning as can still be read. */
  fit() {
    if (!this.layout) return;
    const room = Math.min(1.1, this.size()[0] / this.layout.width);
    this.node.style.height = `${Math.round(Math.min(440, Math.max(150, this.layout.height * Math.max(0.3, room) + 40)))}px`;
    const [width, height] = this.size();
    const scale = Math.min(1.1, Math.max(0.3, Math.min(width / this.layout.width, height / this.layout.height)));
    const wide = this.layout.width * scale;
    const high = this.layout.height * scale;
    this.view = { scale, x: Math.max(0, (width - wide) / 2), y: high > height ? Math.min(0, height / 2 - this.firstMiddle() * scale) : (height - high) / 2 };
    this.apply();
  }

  firstMiddle() {
    const first = this.layout.nodes[0];
    return first ? first.y + first.height / 2 : 0;
  }

  zoom(factor, atX, atY) {
    const [width, height] = this.size();
    const [x, y] = [atX ?? width / 2, atY ?? height / 2];
    const scale = Math.min(3, Math.max(0.05, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.apply();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return; // else the page scrolls
    event.preventDefault();
    const box = this.svg.getBoundingClientRect();
    this.zoom(Math.exp(-(event.deltaY || event.deltaX) / 400), event.clientX - box.left, event.clientY - box.top);
  }

  drag(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX - this.view.x, y: event.clientY - this.view.y, at: [event.clientX, event.clientY] };
    this.dragged = false;
    const move = (now) => {
      if (Math.abs(now.clientX - start.at[0]) + Math.abs(now.clientY - start.at[1]) > 4) this.dragged = true;
      if (!this.dragged) return;
      this.svg.classList.add("dragging");
      this.view.x = now.clientX - start.x;
      this.view.y = now.clientY - start.y;
      this.apply();
    };
    const stop = () => {
      this.svg.classList.remove("dragging");
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
  }

  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const id = event.target.closest?.(".node")?.dataset.id;
    const toward = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (id && toward) this.focus(this.neighbour(this.nodes.get(id).drawn, toward));
    else if (id && (event.key === "Enter" || event.key === " ")) this.pick(id);
    else if (event.key === "+") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }

  /** The nearest node in a direction; going sideways counts three times as far. */
  neighbour(from, [dx, dy]) {
    let best = null;
    let least = Infinity;
    for (const { drawn } of this.nodes.values()) {
      const x = drawn.x + drawn.width / 2 - from.x - from.width / 2;
      const y = drawn.y + drawn.height / 2 - from.y - from.height / 2;
      const along = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (along > 4 && along + 3 * aside < least) { least = along + 3 * aside; best = drawn; }
    }
    return best;
  }

  focus(drawn) {
    if (!drawn) return;
    this.layer.querySelector('.node[tabindex="0"]')?.setAttribute("tabindex", "-1");
    const { g } = this.nodes.get(drawn.id);
    g.setAttribute("tabindex", "0");
    const [width, height] = this.size();
    const { scale } = this.view;
    const left = drawn.x * scale + this.view.x;
    const top = drawn.y * scale + this.view.y;
    if (left < 0) this.view.x += STEP_PX - left;
    else if (left + drawn.width * scale > width) this.view.x -= left + drawn.width * scale - width + STEP_PX;
    if (top < 0) this.view.y += STEP_PX - top;
    else if (top + drawn.height * scale > height) this.view.y -= top + drawn.height * scale - height + STEP_PX;
    this.apply();
    g.focus({ preventScroll: true });
  }
}
