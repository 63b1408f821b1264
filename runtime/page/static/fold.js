// A job's steps, folded from its events: the same records as /steps gives, while they happen.

const STATUS = { "step.queued": "queued", "step.started": "running", "step.completed": "succeeded", "step.failed": "failed", "step.retrying": "queued" };
const STOPPED = new Set(["job.failed", "job.cancelled", "job.expired", "job.input_required", "job.completed"]);
const MISSED = "… "; // stands for tokens that were streamed before the page was opened
export const ENDED = new Set(["job.failed", "job.cancelled", "job.expired", "job.completed"]);

export class Fold {
  constructor() {
    this.steps = new Map(); // id -> record; `status`, `stage`, `start_s`, ... and `text` of its tokens
    this.origin = null; // seconds since the epoch at which the job started
    this.changed = new Set(); // ids of steps that changed since somebody looked
    this.inputs = null;
    this.opened = Date.now() / 1000;
  }

  /** Take records of /steps, for jobs whose log is too long to be read whole. */
  load(records, origin) {
    this.origin = origin;
    for (const record of records) this.put(record.id, record);
  }

  put(id, facts) {
    // A new object each time: tables draw a row again when its object is another.
    this.steps.set(id, { ...this.steps.get(id), ...facts, id });
    this.changed.add(id);
  }

  add(event) {
    const { type, at_s: at, step_id: id, data = {} } = event;
    if (type === "job.started" && this.origin === null) this.origin = at;
    if (type === "job.queued") this.inputs = data.inputs ?? null;
    if (type === "step.delta") {
      this.delta(id, data);
    } else if (STATUS[type]) {
      this.step(type, at, id, data);
    } else if (STOPPED.has(type)) {
      const left = type === "job.input_required" ? "queued" : "cancelled";
      for (const step of this.steps.values()) {
        if (step.status === "running" || step.status === "queued") this.put(step.id, { status: left, end_s: step.end_s ?? at - (this.origin ?? at) });
      }
      const asked = data.interrupt;
      if (asked) this.put(asked.id, { status: "input_required", end_s: null, stage: asked.stage ?? this.steps.get(asked.id)?.stage ?? stageOf(asked.id) });
    }
  }

  /** Tokens come at once and `step.started` once it is durable: the first may be here before it. */
  delta(id, data) {
    const step = this.steps.get(id);
    const early = step?.status !== "running";
    const fresh = early && !step?.early;
    const missed = !step?.text && step?.status === "running" && (this.origin ?? 0) + step.start_s < this.opened;
    const before = fresh ? "" : step?.text || (missed ? MISSED : "");
    this.put(id, { text: before + (data.text ?? ""), tokens: (fresh ? 0 : step?.tokens ?? 0) + (data.num_tokens ?? 1), early });
  }

  step(type, at, id, data) {
    const facts = { ...data, status: STATUS[type] };
    const before = this.steps.get(id);
    if (type === "step.started") {
      Object.assign(facts, { start_s: at - (this.origin ?? at), end_s: null, error: null, early: false });
      if (!before?.early) Object.assign(facts, { text: "", tokens: 0 });
      this.endPrefills(facts);
    }
    if (data.usd !== undefined && data.usd !== null) {
      facts.spent = (before?.spent ?? 0) + data.usd;
      facts.usd = facts.spent;
    }
    // A model call's text is recorded whole; what was streamed before this page opened is in it.
    if ((data.op ?? before?.op) === "decode" && typeof data.value?.text === "string") facts.text = data.value.text;
    this.put(id, facts);
  }

  /** A prefill is recorded as ended with its decode, and has ended when that starts. */
  endPrefills(decode) {
    for (const parent of decode.op === "decode" ? decode.parents ?? [] : []) {
      const step = this.steps.get(parent);
      if (step?.op === "prefill" && step.status === "running") this.put(parent, { status: "succeeded", end_s: decode.start_s });
    }
  }

  /** What the steps came to so far: dollars and tokens. */
  totals() {
    const sum = { usd: 0, input: 0, output: 0 };
    for (const step of this.steps.values()) {
      sum.usd += step.usd ?? 0;
      if (step.op === "tokenize" || step.op === "embed") sum.input += step.prompt_tokens ?? 0;
      if (step.op === "decode") sum.output += step.output_tokens ?? step.tokens ?? 0;
    }
    return sum;
  }

  take() {
    const changed = this.changed;
    this.changed = new Set();
    return changed;
  }
}

/** The stage of a step whose event does not name it: the last part of its id, without its trip. */
function stageOf(id) {
  return id.split("/").at(-1).replace(/\[\d+\]$/, "");
}
