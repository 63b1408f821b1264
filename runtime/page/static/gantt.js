// When each step ran, one band per device; steps that overlap get lanes of their own.

import { el, replace, svg } from "./dom.js";
import { chart, legend, ticks } from "./chart.js";
import { seconds, word } from "./format.js";

const LEFT = 130;
const LANE = 16;
const MOST_LANES = 24;
const MOST_BARS = 3000;

export class Gantt {
  constructor() {
    this.node = el("div", {});
  }

  /** Draw records of steps; `now` is seconds since the job started, null once it stopped. */
  draw(steps, now) {
    const shown = steps.filter((step) => step.start_s !== null && step.start_s !== undefined).slice(0, MOST_BARS);
    if (!shown.length) {
      replace(this.node, el("div", { class: "empty" }, "No step has started yet."));
      return;
    }
    const ends = shown.map((step) => endOf(step, now));
    const longest = ends.reduce((one, two) => Math.max(one, two), 1e-3);
    const width = Math.max(320, this.node.clientWidth || 1000);
    const at = (value) => LEFT + (width - LEFT - 14) * value / longest;
    const bands = banded(shown, now ?? longest);
    const parts = [];
    let y = 22;
    for (const { device, lanes, hidden } of bands) {
      parts.push(svg("text", { class: "label", x: 0, y: y + 12 }, device.length > 17 ? `${device.slice(0, 16)}…` : device));
      lanes.forEach((lane, index) => lane.forEach((step) => parts.push(this.bar(step, y + index * LANE, at, now, width))));
      if (hidden) parts.push(svg("text", { x: LEFT, y: y + lanes.length * LANE + 11 }, `and ${hidden} more side by side`));
      y += (lanes.length + (hidden ? 1 : 0)) * LANE + 8;
      parts.push(svg("line", { class: "axis", x1: 0, x2: width, y1: y - 4, y2: y - 4 }));
    }
    const scale = ticks(longest, width < 600 ? 3 : 6).map((value) => [
      svg("line", { class: "grid", x1: at(value), x2: at(value), y1: 16, y2: y - 4 }),
      svg("text", { x: at(value), y: 11, "text-anchor": "middle" }, seconds(value)),
    ]);
    const line = now === null ? null : svg("line", { class: "now", x1: at(Math.min(now, longest)), x2: at(Math.min(now, longest)), y1: 16, y2: y - 4 });
    replace(this.node,
      chart(width, y, `Time of ${shown.length} steps on ${bands.length} devices`, scale, parts, line),
      legend(["tool", "tool"], ["prefill", "prefill"], ["llm", "decode"], ["other", "tokenizer"], ["expected", "predicted"]));
  }

  bar(step, y, at, now, room) {
    const end = endOf(step, now);
    const width = Math.max(1.5, at(end) - at(step.start_s));
    const took = `${step.stage}: ${word(step.status)}, ${seconds(end - step.start_s)}`;
    const predicted = step.predicted_s ?? null;
    return [
      svg("rect", { class: `bar ${step.op} ${step.status}`, x: at(step.start_s), y: y + 2, width, height: LANE - 4 },
        svg("title", {}, predicted === null ? took : `${took} (predicted ${seconds(predicted)})`)),
      predicted ? svg("rect", { class: "expected", x: at(step.start_s), y: y + 0.5, width: Math.min(Math.max(1, at(step.start_s + predicted) - at(step.start_s)), room - at(step.start_s)), height: LANE - 1 }) : null,
    ];
  }
}

function endOf(step, now) {
  return step.end_s ?? now ?? step.start_s;
}

/** Devices in order of their first step; each step in the first lane that is free by then. */
function banded(steps, now) {
  const bands = new Map();
  for (const step of [...steps].sort((one, two) => one.start_s - two.start_s)) {
    const device = step.device || "on the server";
    if (!bands.has(device)) bands.set(device, { device, lanes: [], free: [], hidden: 0 });
    const band = bands.get(device);
    let lane = band.free.findIndex((until) => until <= step.start_s + 1e-9);
    if (lane < 0) {
      if (band.lanes.length >= MOST_LANES) { band.hidden += 1; continue; }
      lane = band.lanes.length;
      band.lanes.push([]);
    }
    band.lanes[lane].push(step);
    band.free[lane] = endOf(step, now);
  }
  return [...bands.values()];
}
