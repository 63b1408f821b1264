// Tokens of model calls as they come, the newest call first.

import { el, replace, setText } from "./dom.js";
import { count } from "./format.js";

const MOST = 12;
const MOST_CHARS = 20_000;

export class Streams {
  constructor() {
    this.shown = new Map(); // step id -> {node, pre, facts, text}
    this.none = el("p", { class: "muted" }, "What models write appears here as they write it.");
    this.node = el("div", { class: "streams" }, this.none);
  }

  update(steps) {
    for (const step of steps) if (step.text) this.show(step);
  }

  show(step) {
    let entry = this.shown.get(step.id);
    if (!entry) {
      const text = document.createTextNode("");
      const facts = el("span", { class: "muted" });
      const name = el("strong", {}, step.id);
      const device = el("span", { class: "muted" });
      const node = el("div", { class: "stream" },
        el("header", {}, name, device, el("span", { class: "grow" }), facts),
        el("pre", { tabindex: "0", "aria-label": `Tokens of ${step.stage || step.id}` }, text));
      entry = { node, text, facts, name, device, length: 0 };
      this.shown.set(step.id, entry);
      this.none.hidden = true;
      this.node.prepend(node);
      if (this.shown.size > MOST) {
        const [oldest, { node: old }] = this.shown.entries().next().value;
        old.remove();
        this.shown.delete(oldest);
      }
    }
    // Begun again, or read whole after a beginning that was missed.
    if (!step.text.startsWith(entry.text.data)) { entry.text.data = ""; entry.length = 0; }
    const room = Math.max(0, MOST_CHARS - entry.length);
    entry.text.appendData(step.text.slice(entry.length, entry.length + room));
    entry.length = Math.min(step.text.length, MOST_CHARS);
    entry.node.classList.toggle("live", step.status === "running");
    setText(entry.name, step.id);
    setText(entry.device, step.device ?? "");
    setText(entry.facts, `${count(step.output_tokens ?? step.tokens)} tokens`);
    const pre = entry.text.parentNode;
    if (step.status === "running") pre.scrollTop = pre.scrollHeight;
  }

  clear() {
    this.shown.clear();
    this.none.hidden = false;
    replace(this.node, this.none);
  }
}
