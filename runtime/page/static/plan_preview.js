// What a plan says: figures, verdict, and where each step would run.

import { el } from "./dom.js";
import { percent, seconds, usd } from "./format.js";
import { dots, legend } from "./chart.js";

export function figure(name, value, small = "", bad = false) {
  return el("div", { class: "figure" }, el("span", {}, name), el("b", {}, value), el("small", { class: bad ? "bad" : null, title: small }, small));
}

export function figures(...items) {
  return el("div", { class: "figures" }, items);
}

export function verdict(plan) {
  const { feasible, reasons = [], ahead } = plan.admission ?? {};
  const waiting = ahead ? ` ${ahead} of your jobs would go first.` : "";
  if (feasible === false) {
    return el("div", { class: "problem" }, el("strong", {}, "Not expected to keep its limits"), el("p", {}, `As planned, ${reasons.join("; ")}.${waiting}`),
      el("dl", { class: "facts" }, el("dt", {}, "Next step"), el("dd", { class: "next" }, "Give it more time or money, or ask for a smaller model.")));
  }
  return el("p", {}, el("span", { class: "pill succeeded" }, "expected to keep its limits"), waiting);
}

export function planPreview(plan) {
  if (!plan.stages?.length) return el("p", { class: "muted" }, "Nothing of this workflow needs a device that is planned for.");
  const { predicted } = plan;
  return el("div", {},
    verdict(plan),
    figures(
      figure("p50", seconds(predicted.p50_s ?? predicted.seconds), plan.deadline_s ? `deadline ${seconds(plan.deadline_s)}` : ""),
      figure("p95", seconds(predicted.p95_s), "of such jobs"),
      figure("Cost", usd(predicted.usd), plan.budget_usd ? `budget ${usd(plan.budget_usd)}` : "per job")),
    placement(plan),
    calibrationChart(plan.calibration));
}

export function placement(plan) {
  const critical = new Set(plan.critical_path ?? []);
  return [el("div", { class: "scroll" }, el("table", { class: "compact", "aria-label": "Placement" },
    el("thead", {}, el("tr", {}, ["Step", "Device", "Time", "90 % of it", "Cost", "Rests on"].map((title, index) => el("th", { scope: "col", class: index > 1 && index < 5 ? "num" : null }, title)))),
    el("tbody", {}, plan.stages.map((row) => el("tr", {},
      el("td", { title: row.stage }, row.stage, critical.has(row.stage) ? el("span", { class: "off", title: "on the critical path" }, "*") : null),
      el("td", { title: row.device }, row.device),
      el("td", { class: "num" }, seconds(row.seconds), row.visits !== 1 ? el("span", { class: "off" }, `× ${Number(row.visits.toPrecision(2))}`) : null),
      el("td", { class: "num" }, `${seconds(row.low_s)} – ${seconds(row.high_s)}`),
      el("td", { class: "num" }, usd(row.usd)),
      el("td", {}, row.source)))))),
  critical.size ? el("p", { class: "muted" }, "* on the critical path: these decide when the job is done") : null];
}

/** How far predictions were off, before and after what was measured was learned from. */
export function calibrationChart(errors) {
  const known = errors ?? [];
  if (!known.length) return el("p", { class: "muted" }, "No measurements of these steps yet: after some jobs, the error of the predictions is shown here.");
  const rows = known.slice(0, 16).map((row) => ({
    label: row.op, sub: [row.model, row.device].filter(Boolean).join(" on "),
    marks: [
      { value: row.before, class: "hollow", title: "before calibration" },
      { value: row.after, class: "", title: "after calibration" },
    ],
  }));
  return el("div", {}, el("p", { class: "muted" }, "How far predictions are off, per kind of step, model and device."), dots(rows, { label: "Error of the cost model, before and after calibration", text: percent }),
    legend(["hollow", "error before calibration"], ["solid", "after"]));
}
