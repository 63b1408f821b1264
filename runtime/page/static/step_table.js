// The steps of one job as a table, and one of them in detail.

import { el, problemBox, replace } from "./dom.js";
import { against, count, percent, seconds, usd } from "./format.js";
import { pill } from "./jobs.js";
import { Table } from "./table.js";

function took(step) {
  return step.end_s === null || step.end_s === undefined || step.start_s === null || step.start_s === undefined ? null : step.end_s - step.start_s;
}

export class StepTable {
  constructor({ retry, fork }) {
    this.actions = { retry, fork };
    this.detail = el("div", { "aria-live": "polite" });
    this.wanted = null;
    this.all = [];
    this.table = new Table({
      label: "Steps", compact: true, rowHeight: 30, empty: "No step has started yet.",
      open: (step) => this.show(step),
      columns: [
        { title: "Step", render: (step) => el("a", { href: "#", title: step.id, onclick: (event) => { event.preventDefault(); this.show(step); } }, step.id) },
        { title: "Op", width: "110px", render: (step) => step.op },
        { title: "Device", width: "120px", render: (step) => step.device },
        { title: "Status", width: "130px", render: (step) => pill(step.status) },
        { title: "Start", class: "num", width: "110px", render: (step) => seconds(step.start_s) },
        { title: "Time", class: "num", width: "140px", render: (step) => [seconds(took(step)), el("span", { class: "off" }, against(took(step), step.predicted_s))] },
        { title: "Predicted", class: "num", width: "90px", render: (step) => seconds(step.predicted_s) },
        { title: "In", class: "num", width: "80px", render: (step) => count(step.prompt_tokens) },
        { title: "Cached", class: "num", width: "80px", render: (step) => (step.prompt_tokens ? percent((step.cached_tokens ?? 0) / step.prompt_tokens) : "–") },
        { title: "Out", class: "num", width: "80px", render: (step) => count(step.output_tokens) },
        { title: "Cost", class: "num", width: "130px", render: (step) => usd(step.usd) },
      ],
    });
    this.table.node.style.maxHeight = "420px";
    this.node = el("div", {}, this.table.node, this.detail);
  }

  set(steps) {
    this.all = steps;
    this.table.set(this.wanted ? steps.filter((step) => this.wanted.has(step.stage)) : steps);
    if (this.open) {
      const now = steps.find((step) => step.id === this.open.id);
      if (now && now.status !== this.open.status) this.show(now);
    }
  }

  /** Show steps of some stages only, or of all with null. */
  only(stages) {
    this.wanted = stages && new Set(stages);
    this.set(this.all);
  }

  show(step) {
    this.open = step;
    this.table.selected = step.id;
    this.table.draw();
    const kernels = Object.entries(step.kernels ?? {}).map(([name, value]) => `${name}: ${value}`).join(", ");
    const facts = [
      ["Stage", step.stage], ["After", (step.parents ?? []).slice(0, 12).join(", ")], ["Kernels", kernels],
      ["Result", step.value === undefined || step.value === null ? "" : shortJson(step.value?.text ?? step.value)],
    ].filter(([, value]) => value);
    replace(this.detail, el("div", { class: "detail" },
      el("div", { class: "heading" }, el("h2", {}, step.id), pill(step.status), el("span", { class: "grow" }),
        el("button", { type: "button", onclick: () => this.actions.retry(step.id) }, "Retry from here"),
        el("button", { type: "button", onclick: () => this.actions.fork(step.id) }, "Fork from here")),
      step.error ? problemBox(step.error) : null,
      el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("pre", {}, value))]))));
  }

  dispose() {
    this.table.dispose();
  }
}

function shortJson(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
  return text.length > 4000 ? `${text.slice(0, 4000)}…` : text;
}
