// The form that starts a job, with a look at its plan first.

import { get, post } from "./api.js";
import { card, el, heading, problemBox, replace, say } from "./dom.js";
import { planPreview } from "./plan_preview.js";
import { schemaInput } from "./schema_form.js";

export function limitInputs() {
  const deadline = schemaInput({ name: "Deadline", hint: "seconds", schema: { type: "number", minimum: 0 } });
  const budget = schemaInput({ name: "Budget", hint: "US $", schema: { type: "number", minimum: 0 } });
  const priority = schemaInput({ name: "Priority", hint: "0 to 9", schema: { type: "integer", minimum: 0, maximum: 9 }, value: 5 });
  return { deadline, budget, priority };
}

/** The inputs of a workflow, drawn when one is chosen. */
export function workflowInputs(holder, workflow) {
  const inputs = workflow.inputs.map((input) => ({
    name: input.name,
    ...schemaInput({ name: input.name, schema: input.schema, required: input.required, value: input.default, hint: input.type === "database" && !input.schema.enum ? "no database is registered: serve with --database name=location" : "" }),
  }));
  replace(holder, inputs.map((input) => input.node));
  return () => Object.fromEntries(inputs.map((input) => [input.name, input.read()]).filter(([, value]) => value !== undefined));
}

export function submitView(root) {
  const abort = new AbortController();
  const failed = el("div", {});
  const workflow = el("select", { id: "workflow", required: true });
  const about = el("p", { class: "muted" });
  const holder = el("div", { class: "form" });
  const limits = limitInputs();
  const hard = el("select", { id: "on-deadline" }, el("option", { value: "late" }, "finish late"), el("option", { value: "expire" }, "expire"));
  const idle = () => el("p", { class: "muted" }, "Preview shows where each step would run, and what the job should take and cost. Nothing is run for it.");
  const preview = el("div", {}, idle());
  const start = el("button", { type: "submit", class: "primary" }, "Start job");
  const look = el("button", { type: "button", onclick: plan }, "Preview plan");
  let known = [];
  let read = () => ({});

  function chosen() {
    const found = known.find((one) => one.name === workflow.value);
    if (!found) return;
    about.textContent = found.description ?? "";
    read = workflowInputs(holder, found);
    limits.deadline.control.placeholder = found.deadline_s ? `${found.deadline_s} (its own)` : "none";
    limits.budget.control.placeholder = found.budget_usd ? `${found.budget_usd} (its own)` : "none";
    replace(preview, idle());
  }

  function body() {
    const deadline = limits.deadline.read();
    const request = { workflow: workflow.value, input: read(), priority: limits.priority.read() ?? 5, on_deadline: hard.value };
    if (deadline) request.deadline_ms = 1000 * deadline;
    const budget = limits.budget.read();
    if (budget !== undefined) request.budget_usd = budget;
    return request;
  }

  function checked() {
    try { return body(); } catch { return null; } // the input says itself what is wrong
  }

  async function plan() {
    const request = checked();
    if (!request) return;
    replace(preview, el("p", { class: "muted", role: "status" }, "Planning…"));
    try { replace(preview, planPreview(await post("/v1/jobs:plan", request))); } catch (error) { replace(preview, problemBox(error)); }
  }

  async function submit(event) {
    event.preventDefault();
    const request = checked();
    if (!request) return;
    start.disabled = true;
    replace(failed);
    try {
      // One key per press: a repeated send of this press makes no second job.
      const job = await post("/v1/jobs", request, { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` });
      say("The job was accepted.");
      location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
    } catch (error) {
      replace(failed, problemBox(error));
      start.disabled = false;
    }
  }

  workflow.addEventListener("change", chosen);
  replace(root,
    el("div", { class: "crumb" }, el("a", { href: "#/jobs" }, "Jobs"), " / new"), heading("New job"), failed,
    el("div", { class: "columns wide-right" },
      card("What to run", el("form", { class: "form", onsubmit: submit, novalidate: true },
        el("div", { class: "field" }, el("label", { for: "workflow" }, "Workflow"), workflow, about),
        holder,
        el("div", { class: "row" }, limits.deadline.node, el("div", { class: "field" }, el("label", { for: "on-deadline" }, "When it passes"), hard)),
        el("div", { class: "row" }, limits.budget.node, limits.priority.node),
        el("div", { class: "actions" }, start, look))),
      card("Plan", preview)));
  get("/v1/workflows", abort.signal).then(({ data }) => {
    known = data;
    replace(workflow, data.map(({ name }) => el("option", { value: name }, name)));
    const first = data.find(({ name }) => name === "text_to_sql");
    if (first) workflow.value = first.name;
    chosen();
  }).catch((error) => { if (error.name !== "AbortError") replace(failed, problemBox(error)); });
  return () => abort.abort();
}
