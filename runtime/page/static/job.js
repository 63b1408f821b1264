// One job, live: its events drive the graph, the times, the tokens and the table of steps.

import { showAgainst } from "./against.js";
import { follow, get } from "./api.js";
import { card, el, problemBox, replace, setText, speak } from "./dom.js";
import { ENDED, Fold } from "./fold.js";
import { FINAL, count, word } from "./format.js";
import { Gantt } from "./gantt.js";
import { Graph } from "./graph.js";
import { JobHead } from "./job_head.js";
import { outputOf } from "./output.js";
import { StepTable } from "./step_table.js";
import { Streams } from "./streams.js";

const MOST_EVENTS = 20_000; // longer logs of ended jobs are read as step records instead
const MOST_INPUT = 2000; // characters of one input that are shown
const SLOW_MS = 400;

export function jobView(root, [id]) {
  const view = new JobView(root, id);
  view.open();
  return () => view.close();
}

class JobView {
  constructor(root, id) {
    this.root = root;
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.id = id;
    this.abort = new AbortController();
    this.fold = new Fold();
    this.head = new JobHead(id, () => this.reload());
    this.steps = new StepTable({ retry: (step) => this.head.retry(step), fork: (step) => this.head.fork(step) });
    this.head.firstStep = () => this.steps.all[0]?.id ?? "";
    this.graph = new Graph({ onPick: (node) => this.pick(node) });
    this.gantt = new Gantt();
    this.streams = new Streams();
    this.input = el("section", { class: "card slim", "aria-label": "Input", hidden: true });
    this.output = el("div", {});
    this.against = el("section", { class: "card", "aria-label": "Predicted against actual", hidden: true });
    this.filter = el("span", { class: "muted" });
    this.level = el("select", { "aria-label": "Level of the graph", onchange: () => this.layout() },
      el("option", { value: "agent" }, "calls"), el("option", { value: "stage" }, "stages"));
    this.dirty = false;
  }

  async open() {
    try {
      this.job = await get(this.path, this.abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") replace(this.root, el("div", { class: "crumb" }, el("a", { href: "#/jobs" }, "Jobs")), problemBox(error));
      return;
    }
    replace(this.root, this.head.node, this.input,
      el("section", { class: "card flush", "aria-label": "Graph" }, el("div", { class: "tools" }, el("h2", {}, "Graph"), el("span", { class: "grow" }), this.level, this.graph.buttons), this.graph.node),
      el("div", { class: "columns even" }, card("Output", this.output), card("Tokens", this.streams.node)),
      card("Times", this.gantt.node), this.against,
      el("section", { class: "card flush", "aria-label": "Steps" }, el("div", { class: "tools" }, el("h2", {}, "Steps"), this.filter), this.steps.node));
    this.show();
    this.layout();
    this.timer = setInterval(() => this.tick(), SLOW_MS);
    this.watch();
  }

  close() {
    this.abort.abort();
    clearInterval(this.timer);
    this.steps.dispose();
  }

  async layout() {
    try {
      const drawn = await get(`/page/jobs/${encodeURIComponent(this.id)}/layout?level=${this.level.value}`, this.abort.signal);
      this.graph.draw(drawn);
      this.graph.update(this.fold.steps.values());
    } catch (error) {
      if (error.name !== "AbortError") replace(this.graph.node, problemBox(error));
    }
  }

  async watch() {
    this.watching = true;
    try {
      if (FINAL.has(this.job.status) && this.job.last_seq > MOST_EVENTS) {
        const { data } = await get(`${this.path}/steps`, this.abort.signal);
        this.fold.load(data, this.job.started_s);
      } else {
        await follow(`${this.path}/events`, (event) => this.take(event.data), () => this.isOver(), this.abort.signal);
      }
    } catch (error) {
      if (!this.abort.signal.aborted) speak(error.message);
    }
    this.watching = false;
    if (!this.abort.signal.aborted) { this.paint(); await this.reload(); }
  }

  async isOver() {
    const job = await get(this.path, this.abort.signal);
    return FINAL.has(job.status);
  }

  take(event) {
    // A retried job's log holds ends that are not the end; only the last one counts.
    this.fold.add(event);
    if (event.type === "job.queued") this.showInput();
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.paint(); });
    if (event.type.startsWith("job.")) this.soon();
    return ENDED.has(event.type) && event.seq >= this.job.last_seq;
  }

  showInput() {
    const given = Object.entries(this.fold.inputs ?? {});
    this.input.hidden = !given.length;
    replace(this.input, el("dl", { class: "facts" }, given.map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
      return [el("dt", {}, name), el("dd", {}, text.length > MOST_INPUT ? `${text.slice(0, MOST_INPUT)}…` : text)];
    })));
  }

  /** Show what changed: nodes and tokens at once, tables and times a little later. */
  paint() {
    const changed = [...this.fold.take()].map((step) => this.fold.steps.get(step));
    if (!changed.length) return;
    // A plan written at run time is drawn inside its step as soon as it is recorded.
    if (changed.some((step) => step.op === "expand" && step.status === "succeeded")) this.layout();
    this.graph.update(changed);
    this.streams.update(changed);
    this.dirty = true;
    if (!this.painted) { this.painted = true; this.tick(); }
  }

  tick() {
    const running = !FINAL.has(this.job.status) && this.job.status !== "input_required";
    if (this.dirty || running) {
      const steps = [...this.fold.steps.values()];
      const now = running && this.fold.origin ? Date.now() / 1000 - this.fold.origin : null;
      // Thousands of bars take a while: they are drawn at every tenth turn only.
      this.turn = (this.turn ?? -1) + 1;
      if (steps.length < 500 || !running || this.turn % 10 === 0) this.gantt.draw(steps, now);
      if (this.dirty) this.steps.set(steps);
      if (this.dirty && !this.steps.wanted) setText(this.filter, `${count(steps.length)} in all`);
      this.dirty = false;
    }
    if (running) this.head.draw(this.job, this.fold.totals());
  }

  soon() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.reload(), 60);
  }

  async reload() {
    try {
      const before = this.job.status;
      this.job = await get(this.path, this.abort.signal);
      if (before !== this.job.status) {
        speak(`The job is ${word(this.job.status)}.`);
        this.dirty = true;
      }
      this.show();
      this.tick();
      if (!FINAL.has(this.job.status) && !this.watching) { this.fold = new Fold(); this.watch(); }
    } catch { /* said by the link sign */ }
  }

  show() {
    document.title = `${word(this.job.status)} · ${this.job.workflow} · gangline`;
    this.head.draw(this.job, this.fold.totals());
    if (this.shownOutput !== this.job.last_seq) {
      this.shownOutput = this.job.last_seq;
      replace(this.output, outputOf(this.job.output, FINAL.has(this.job.status)));
      this.against.hidden ||= !FINAL.has(this.job.status);
      if (FINAL.has(this.job.status)) showAgainst(this.against, this.path, this.abort.signal).catch(() => {});
    }
  }

  pick(node) {
    this.steps.only(node?.stages ?? null);
    setText(this.filter, node ? `${count(this.steps.table.rows.length)} of ${node.label}; choose it again to see all` : `${count(this.fold.steps.size)} in all`);
  }
}
