// The fleet: what each device does now, and how good predictions for it are.

import { get } from "./api.js";
import { card, el, heading, problemBox, replace } from "./dom.js";
import { NONE, bytes, count, percent, usd } from "./format.js";
import { meter, spark } from "./chart.js";
import { calibrationChart, figure, figures } from "./plan_preview.js";

const EVERY_MS = 2000;
const KEPT = 60;

export function fleetView(root) {
  const abort = new AbortController();
  const failed = el("div", {});
  const totals = el("div", {});
  const body = el("tbody", {});
  const learned = el("div", {});
  const history = new Map(); // device -> last shares of time it was busy
  let timer = 0;

  const titles = [["Device"], ["Kind"], ["Running", 1], ["Waiting", 1], ["KV cache", 1], ["Busy", 1], ["Busy, last 2 min"], ["Rate", 1], ["Spent", 1]];
  replace(root, heading("Fleet"), failed, totals,
    el("section", { class: "card flush", "aria-label": "Devices" }, el("div", { class: "scroll" },
      el("table", { class: "rows", "aria-label": "Devices" },
        el("thead", {}, el("tr", {}, titles.map(([title, num]) => el("th", { scope: "col", class: num ? "num" : null }, title)))), body))),
    card("Error of the cost model", learned));

  async function refresh() {
    try {
      const [devices, capacity] = await Promise.all([get("/v1/devices", abort.signal), get("/v1/capacity", abort.signal)]);
      replace(failed);
      show(devices.data, capacity);
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(failed, problemBox(error));
    }
  }

  function show(devices, capacity) {
    const sum = (name) => devices.reduce((total, device) => total + (device[name] ?? 0), 0);
    replace(totals, figures(
      figure("Jobs running", count(capacity.running ?? capacity.jobs?.running), capacity.max_running ? `of ${count(capacity.max_running)} at once` : ""),
      figure("Jobs waiting", count(capacity.queued ?? capacity.jobs?.queued), "for a slot"),
      figure("Requests running", count(sum("running")), `${count(sum("waiting"))} waiting`),
      devices.some((device) => device.usd_per_hour) ? figure("Rate", `${usd(sum("usd_per_hour"))}/h`, "of all devices") : figure("Rate", NONE, "the fleet file names no prices"),
      figure("Devices", count(devices.length), `${devices.filter((device) => device.alive === false).length || "none"} down`)));
    replace(body, devices.map(row));
    if (!devices.length) replace(body, el("tr", {}, el("td", { colspan: titles.length, class: "empty" }, "This server has no devices: its workflows run tools only.")));
  }

  function row(device) {
    const past = history.get(device.id) ?? [];
    past.push(device.utilisation ?? 0);
    if (past.length > KEPT) past.shift();
    history.set(device.id, past);
    const graph = spark(past, KEPT, 1, `${device.id}: busy over the last minutes`);
    graph.classList.add("mini");
    return el("tr", {},
      el("td", {}, el("strong", {}, device.id), device.alive === false ? el("span", { class: "tag late" }, "down") : null),
      el("td", {}, device.type ?? device.kind ?? device.backend),
      el("td", { class: "num" }, count(device.running)),
      el("td", { class: "num" }, count(device.waiting)),
      el("td", { class: "num" }, device.kv_used === null || device.kv_used === undefined ? "–" : [meter(device.kv_used, `KV cache ${percent(device.kv_used)} used`), percent(device.kv_used), device.kv_bytes ? el("span", { class: "off" }, bytes(device.kv_bytes)) : null]),
      el("td", { class: "num" }, [meter(device.utilisation, `busy ${percent(device.utilisation)} of the time`), percent(device.utilisation)]),
      el("td", {}, graph),
      el("td", { class: "num" }, !device.usd_per_hour ? NONE : `${usd(device.usd_per_hour)}/h`),
      el("td", { class: "num" }, usd(device.usd)));
  }

  get("/page/calibration", abort.signal).then(({ data }) => replace(learned, calibrationChart(data))).catch(() => {});
  refresh();
  timer = setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
  return () => { abort.abort(); clearInterval(timer); };
}
