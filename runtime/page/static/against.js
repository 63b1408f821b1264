// Predicted against actual, per stage of a job that ended.

import { get } from "./api.js";
import { el, replace } from "./dom.js";
import { seconds, usd } from "./format.js";
import { dots, legend } from "./chart.js";

const MOST = 10;
const SMALL = 0.002; // of the greatest: less cannot be seen
const LEAST = { seconds: 0, usd: 1e-6 };

/** Fill a card with the stages that matter most; it stays hidden where nothing was planned. */
export async function showAgainst(holder, path, signal) {
  const report = await get(`${path}/plan`, signal);
  const stages = report.stages.filter((row) => row.predicted && row.actual);
  holder.hidden = !report.planned || !stages.length;
  if (holder.hidden) return;
  replace(holder, el("h2", {}, "Predicted against actual"),
    el("div", { class: "columns" }, part(stages, "seconds", "Time of one visit", seconds), part(stages, "usd", "Cost of one visit", usd)),
    legend(["hollow", "predicted"], ["solid", "actual"]));
}

function part(stages, name, title, text) {
  const total = (row) => Math.max(row.predicted[name] * row.predicted.visits, row.actual[name] * row.actual.visits);
  const rows = [...stages].sort((one, two) => total(two) - total(one)).slice(0, MOST).filter((row, _, all) => total(row) > LEAST[name] && total(row) > SMALL * total(all[0]));
  if (!rows.length) return null;
  return el("div", {}, el("p", { class: "muted" }, title), dots(rows.map((row) => ({ label: row.stage, marks: [
    { value: row.predicted[name], class: "hollow", title: "predicted" }, { value: row.actual[name], title: "actual" },
  ] })), { label: `${title} of each stage, predicted and actual`, text }));
}
