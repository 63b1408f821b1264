// The plan explorer: what a workflow would take under several limits, side by side.

import { get, post } from "./api.js";
import { card, el, heading, problemBox, replace } from "./dom.js";
import { NONE, seconds, usd } from "./format.js";
import { dots, legend } from "./chart.js";
import { Graph } from "./graph.js";
import { calibrationChart, placement, verdict } from "./plan_preview.js";
import { schemaInput } from "./schema_form.js";
import { workflowInputs } from "./submit.js";

export function planView(root) {
  const abort = new AbortController();
  const failed = el("div", {});
  const workflow = el("select", { id: "p-workflow" });
  const holder = el("div", { class: "form" });
  const deadline = schemaInput({ name: "Deadline", hint: "seconds", schema: { type: "number", minimum: 0 } });
  const budget = schemaInput({ name: "Budget", hint: "US $", schema: { type: "number", minimum: 0 } });
  const slo = schemaInput({ name: "p95", hint: "s, of such jobs", schema: { type: "number", minimum: 0 } });
  const model = schemaInput({ name: "Model", schema: { type: "string", maxLength: 80 } });
  model.control.placeholder = "its own";
  const idle = () => el("p", { class: "muted" }, "Each plan you make is kept here, to compare deadlines, budgets and models. Nothing is run.");
  const compared = el("div", {}, idle());
  const start = el("button", { type: "submit", class: "primary" }, "Plan");
  const detail = el("div", {});
  const graph = new Graph({ onPick: () => {} });
  const plans = [];
  let known = [];
  let read = () => ({});

  function chosen() {
    const found = known.find((one) => one.name === workflow.value);
    if (!found) return;
    read = workflowInputs(holder, found);
    plans.length = 0;
    replace(detail);
    replace(compared, idle());
    get(`/page/workflows/${encodeURIComponent(found.name)}/layout?level=agent`, abort.signal).then((layout) => graph.draw(layout)).catch(() => {});
  }

  async function make(event) {
    event.preventDefault();
    let request;
    let wanted;
    try {
      request = { workflow: workflow.value, input: read() };
      const limit = deadline.read();
      if (limit) request.deadline_ms = 1000 * limit;
      const most = budget.read();
      if (most !== undefined) request.budget_usd = most;
      wanted = slo.read() || null;
      const name = model.read();
      if (name) request.model = name;
    } catch { return; }
    replace(failed);
    start.disabled = true;
    start.textContent = "Planning…";
    try {
      const plan = await post("/v1/jobs:plan", request);
      plans.push({ name: label(request, wanted), plan, slo: wanted });
      if (plans.length > 12) plans.shift();
      show(plans.length - 1);
    } catch (error) { replace(failed, problemBox(error)); }
    start.disabled = false;
    start.textContent = "Plan";
  }

  function show(index) {
    const { plan, name, slo: wanted } = plans[index];
    const limit = plan.deadline_s ?? wanted;
    replace(compared,
      el("div", { class: "scroll" }, el("table", { class: "compact rows", "aria-label": "Plans" },
        el("thead", {}, el("tr", {}, ["Limits", "Verdict", "p50", "p95", "Cost", "Devices"].map((title, at) => el("th", { scope: "col", class: at > 1 && at < 5 ? "num" : null }, title)))),
        el("tbody", {}, plans.map((one, at) => el("tr", { class: at === index ? "on" : null },
          el("td", {}, el("a", { href: "#/plan", onclick: (event) => { event.preventDefault(); show(at); } }, one.name)),
          el("td", {}, !keeps(one) ? el("span", { class: "pill failed" }, "misses") : el("span", { class: "pill succeeded" }, "keeps")),
          el("td", { class: "num" }, seconds(one.plan.predicted.p50_s ?? one.plan.predicted.seconds)),
          el("td", { class: "num" }, seconds(one.plan.predicted.p95_s)),
          el("td", { class: "num" }, usd(one.plan.predicted.usd)),
          el("td", {}, [...new Set(one.plan.stages.map((row) => row.device))].join(", ") || NONE)))))),
      dots(plans.map((one) => ({ label: one.name, marks: [
        { value: one.plan.predicted.p50_s ?? one.plan.predicted.seconds, class: "hollow", title: "p50" }, { value: one.plan.predicted.p95_s, title: "p95" },
      ] })), { label: "p50 and p95 of the plans, in seconds", text: seconds, limit }),
      legend(["hollow", "p50"], ["solid", "p95"], ...(limit ? [["limit", `${plan.deadline_s ? "deadline" : "p95 wanted"} of the chosen plan: ${seconds(limit)}`]] : [])));
    replace(detail, plans.length > 1 ? card("Where steps run, by plan", sideBySide()) : null,
      card(`Placement, ${name}`, verdict(plan), wanted && !(plan.predicted.p95_s <= wanted) ? el("p", { class: "pill failed" }, `p95 of ${seconds(plan.predicted.p95_s)} is over the wanted ${seconds(wanted)}`) : null, placement(plan), el("h2", {}, "Error of the predictions so far"), calibrationChart(plan.calibration)));
  }

  /** Steps down, plans across; a step that runs elsewhere than in the first plan stands out. */
  function sideBySide() {
    const stages = [...new Set(plans.flatMap((one) => one.plan.stages.map((row) => row.stage)))];
    const device = (one, stage) => one.plan.stages.find((row) => row.stage === stage)?.device ?? NONE;
    return el("div", { class: "scroll" }, el("table", { class: "compact", "aria-label": "Placements" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Step"), plans.map((one) => el("th", { scope: "col" }, one.name)))),
      el("tbody", {}, stages.map((stage) => el("tr", {}, el("td", {}, stage),
        plans.map((one) => el("td", {}, device(one, stage) === device(plans[0], stage) ? device(one, stage) : el("strong", { class: "moved" }, device(one, stage)))))))));
  }

  workflow.addEventListener("change", chosen);
  replace(root, heading("Plan explorer"), failed,
    el("div", { class: "columns" },
      card("What to plan", el("form", { class: "form", onsubmit: make, novalidate: true },
        el("div", { class: "field" }, el("label", { for: "p-workflow" }, "Workflow"), workflow), holder,
        el("div", { class: "row" }, deadline.node, slo.node),
        el("div", { class: "row" }, budget.node, model.node),
        el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Plan")))),
      card("Plans", compared)),
    detail,
    el("section", { class: "card flush", "aria-label": "Graph" }, el("div", { class: "tools" }, el("h2", {}, "Graph"), el("span", { class: "grow" }), graph.buttons), graph.node));
  get("/v1/workflows", abort.signal).then(({ data }) => {
    known = data;
    replace(workflow, data.map(({ name }) => el("option", { value: name }, name)));
    if (data.some(({ name }) => name === "text_to_sql")) workflow.value = "text_to_sql";
    chosen();
  }).catch((error) => { if (error.name !== "AbortError") replace(failed, problemBox(error)); });
  return () => abort.abort();
}

function keeps({ plan, slo }) {
  return plan.admission?.feasible !== false && !(slo && !(plan.predicted.p95_s <= slo));
}

function label(request, slo) {
  const parts = [request.deadline_ms ? `≤ ${seconds(request.deadline_ms / 1000)}` : "", slo ? `p95 ≤ ${seconds(slo)}` : "", request.budget_usd !== undefined ? `≤ ${usd(request.budget_usd)}` : "", request.model ?? ""];
  return parts.filter(Boolean).join(", ") || "no limits";
}
