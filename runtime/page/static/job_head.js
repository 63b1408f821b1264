// The head of one job: status, what may be done with it, its figures, its question, its error.

import { post } from "./api.js";
import { ask } from "./dialog.js";
import { el, problemBox, replace, say } from "./dom.js";
import { FINAL, NONE, against, clock, count, seconds, shortId, until, usd, word } from "./format.js";
import { pill } from "./jobs.js";
import { figure, figures } from "./plan_preview.js";
import { schemaInput } from "./schema_form.js";

const TRIED_AGAIN = new Set(["failed", "cancelled", "expired", "input_required"]);

export class JobHead {
  constructor(id, changed) {
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.changed = changed;
    this.title = el("div", { class: "heading" });
    this.question = el("div", {});
    this.failed = el("div", {});
    this.figures = el("div", {});
    this.node = el("div", {},
      el("div", { class: "crumb" }, el("a", { href: "#/jobs" }, "Jobs"), " / ", el("span", { class: "mono", title: id }, shortId(id))),
      this.title, this.question, this.failed, this.figures);
  }

  draw(job, sum = null) {
    const tied = `${job.status} ${job.last_seq}`;
    if (this.tied !== tied) {
      this.tied = tied;
      this.drawTitle(job);
      this.drawQuestion(job);
      replace(this.failed, job.error && !job.interrupt ? problemBox(job.error) : null);
    }
    this.drawFigures(job, sum);
  }

  drawTitle(job) {
    const focused = this.title.contains(document.activeElement) ? document.activeElement.textContent : "";
    const over = FINAL.has(job.status);
    const buttons = [
      !over ? ["Cancel", () => this.cancel(job), "danger"] : null,
      TRIED_AGAIN.has(job.status) && !job.interrupt ? ["Retry", () => this.retry()] : null,
      over ? ["Fork", () => this.fork()] : null,
    ].filter(Boolean).map(([text, onclick, name]) => el("button", { type: "button", class: name, onclick }, text));
    replace(this.title,
      el("h1", {}, job.workflow), pill(job.status, true),
      job.late ? el("span", { class: "tag late" }, "late") : null,
      job.forked_from ? el("a", { href: `#/jobs/${encodeURIComponent(job.forked_from)}` }, `forked from ${shortId(job.forked_from)}`) : null,
      el("span", { class: "grow" }), buttons);
    if (focused) (buttons.find((button) => button.textContent === focused) ?? buttons[0])?.focus();
  }

  drawFigures(job, sum) {
    const now = Date.now() / 1000;
    const over = FINAL.has(job.status);
    const stopped = over || job.status === "input_required";
    const spent = stopped ? job.actual.seconds ?? (job.ended_s && job.started_s ? job.ended_s - job.started_s : null) : now - job.started_s;
    const done = job.status === "succeeded";
    const late = job.late || (!over && job.deadline_s && now > job.deadline_s);
    replace(this.figures, figures(
      figure("Time", job.started_s || over ? seconds(spent) : NONE, said(job.predicted.seconds, done ? spent : null, seconds)),
      figure("Cost", usd(Math.max(job.actual.usd ?? 0, sum?.usd ?? 0)), said(job.predicted.usd, done ? job.actual.usd : null, usd) + (job.budget_usd !== null ? ` · budget ${usd(job.budget_usd)}` : "")),
      job.deadline_s
        ? figure("Deadline", over ? (late ? "late" : "kept") : until(job.deadline_s, now), `${clock(job.deadline_s)}${job.on_deadline === "expire" ? ", then it expires" : ""}`, late)
        : figure("Deadline", "none"),
      figure("Tokens", `${count(Math.max(job.prompt_tokens, sum?.input ?? 0))} in`, `${count(Math.max(job.output_tokens, sum?.output ?? 0))} out`),
      figure("Created", el("time", { title: clock(job.created_s) }, clock(job.created_s).split(", ").at(-1)), job.started_s ? `waited ${seconds(job.started_s - job.created_s)}` : job.position !== null ? `${job.position} of yours before it` : clock(job.created_s).split(", ")[0]),
      figure("Priority", String(job.priority), Object.entries(job.metadata).map(([name, value]) => `${name}=${value}`).join(", "))));
  }

  drawQuestion(job) {
    const asked = job.interrupt;
    if (!asked) {
      replace(this.question, job.status === "input_required" && job.error ? problemBox(job.error) : null);
      return;
    }
    const schema = asked.choices?.length ? { enum: asked.choices } : asked.schema ?? {};
    const input = schemaInput({ name: "Answer", schema, required: true });
    const failed = el("div", {});
    const form = el("form", { class: "form", novalidate: true, onsubmit: async (event) => {
      event.preventDefault();
      let value;
      try { value = input.read(); } catch { return; }
      try {
        await post(`${this.path}:resume`, { interrupt: asked.id, value });
        say("Answered; the job goes on.");
        this.changed();
      } catch (error) { replace(failed, problemBox(error)); }
    } }, failed, input.node, el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Answer")));
    replace(this.question, el("section", { class: "question", "aria-label": "Question of the job" }, el("strong", {}, "The job asks"), el("p", {}, asked.question), form));
  }

  cancel(job) {
    ask({
      title: "Cancel this job?", text: `It is ${word(job.status)}. Steps that run are stopped; what is recorded stays.`, confirm: "Cancel the job", danger: true,
      act: async () => { await post(`${this.path}:cancel`); say("Asked to stop."); this.changed(); },
    });
  }

  retry(step = "") {
    ask({
      title: step ? "Run again from this step?" : "Retry this job?",
      text: step ? `“${step}” and all that comes after it runs anew; the rest is kept.` : "It goes on where it stopped: steps that are recorded are not run again.",
      confirm: "Retry",
      act: async () => { await post(`${this.path}:retry`, step ? { from_step: step } : {}); say("The job goes on."); this.changed(); },
    });
  }

  fork(step = "") {
    const inputs = [
      schemaInput({ name: "From step", schema: { type: "string", maxLength: 80 }, required: true, value: step || this.firstStep?.(), hint: "the first step run anew" }),
      schemaInput({ name: "Inputs to change", schema: { type: "object" }, hint: "JSON" }),
    ];
    ask({
      title: "Fork into a new job", text: "The new job begins with the results of everything the step does not come after.", inputs, confirm: "Fork",
      act: async ([from_step, input]) => {
        const made = await post(`${this.path}:fork`, { from_step, input: input ?? {} });
        say("Forked.");
        location.hash = `#/jobs/${encodeURIComponent(made.id)}`;
      },
    });
  }
}

function said(predicted, actual, text) {
  if (!predicted) return "not predicted"; // none, or nothing in it takes time
  const off = against(actual, predicted);
  return `predicted ${text(predicted)}${off ? ` (${off})` : ""}`;
}
