// The list of jobs: filters, pages by cursor as one scrolls, changes as they happen.

import { get, query } from "./api.js";
import { el, heading, problemBox, replace, setText } from "./dom.js";
import { FINAL, against, ago, clock, count, seconds, shortId, usd, word } from "./format.js";
import { Table } from "./table.js";

const PAGE = 200;
const EVERY_MS = 1500;
const MOST_SEARCHED = 10_000; // newest jobs among which a part of an id is looked for
const NO_JOBS = "No jobs yet. Start one with “New job”.";
const WHOLE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const STATUSES = ["queued", "running", "input_required", "succeeded", "failed", "cancelled", "expired", "rejected"];
const RANGES = [["", "any time"], ["3600", "last hour"], ["86400", "last day"], ["604800", "last week"]];

export function pill(status, large = false) {
  return el("span", { class: `pill ${status} ${large ? "large" : ""}` }, word(status));
}

function compared(actual, predicted, text) {
  const off = against(actual, predicted);
  return [text(actual), off && el("span", { class: "off", title: `predicted ${text(predicted)}` }, off)];
}

const COLUMNS = [
  { title: "Job", width: "130px", render: (job) => el("a", { href: `#/jobs/${encodeURIComponent(job.id)}`, class: "mono", title: job.id }, shortId(job.id)) },
  { title: "Workflow", least: 120, render: (job) => job.workflow },
  { title: "Status", width: "190px", render: (job) => [pill(job.status), " ", job.late && el("span", { class: "tag late" }, "late"), job.position ? el("span", { class: "tag" }, `${job.position} before`) : null] },
  { title: "Created", width: "120px", render: (job) => el("time", { title: clock(job.created_s) }, ago(job.created_s)) },
  { title: "Time", class: "num", width: "150px", render: (job) => compared(job.actual.seconds ?? (job.started_s && job.ended_s ? job.ended_s - job.started_s : null), job.status === "succeeded" ? job.predicted.seconds : null, seconds) },
  { title: "Cost", class: "num", width: "180px", render: (job) => compared(job.actual.usd, job.status === "succeeded" ? job.predicted.usd : null, usd) },
  { title: "Tokens in", class: "num", width: "100px", render: (job) => count(job.prompt_tokens) },
  { title: "Tokens out", class: "num", width: "100px", render: (job) => count(job.output_tokens) },
];

function select(id, options) {
  return el("select", { id }, options.map(([value, text]) => el("option", { value }, text)));
}

function field(label, control) {
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
}

export function jobsView(root, _, parameters) {
  const abort = new AbortController();
  const status = select("f-status", [["", "any status"], ...STATUSES.map((name) => [name, word(name)])]);
  const workflow = select("f-workflow", [["", "any workflow"]]);
  const range = select("f-range", RANGES);
  const part = el("input", { id: "f-id", type: "search", placeholder: "part of an id", autocomplete: "off", size: 18 });
  const shown = el("span", {});
  const note = el("span", {});
  const failed = el("div", {});
  let jobs = []; // newest first, as the server orders them
  let next = ""; // cursor of the next page; null at the end
  let loading = false;
  let turn = 0;
  let soughtId = ""; // the whole id that was last asked for,
  let sought = null; // and its job, which is on no page read so far
  const table = new Table({
    label: "Jobs", columns: COLUMNS, empty: NO_JOBS,
    open: (job) => { location.hash = `#/jobs/${encodeURIComponent(job.id)}`; }, nearEnd: () => more(),
  });
  const ages = setInterval(refreshAges, 10_000);

  function wanted(extra) {
    const since = range.value ? Math.floor(Date.now() / 1000 - Number(range.value)) : "";
    return `/v1/jobs${query({ limit: PAGE, status: status.value, workflow: workflow.value, created_after: since, ...extra })}`;
  }

  function show() {
    const text = part.value.trim().toLowerCase();
    const matching = text ? jobs.filter((job) => job.id.toLowerCase().includes(text)) : jobs;
    table.set(matching.length || sought?.id !== text ? matching : [sought]);
    setText(table.none, text || status.value || workflow.value || range.value ? "No job matches the filters." : NO_JOBS);
    setText(shown, `${count(table.rows.length)} shown${next === null || text ? "" : "; more below"}`);
    if (WHOLE_ID.test(text)) {
      if (!matching.length && soughtId !== text) whole(text);
      return;
    }
    // A part of an id is looked for here, so many pages are needed.
    const further = text && next !== null && table.rows.length < 20;
    if (further && jobs.length < MOST_SEARCHED) more();
    setText(note, further && jobs.length >= MOST_SEARCHED ? `looked for among the newest ${count(jobs.length)}; a whole id finds any job` : "");
  }

  /** A whole id is asked for, however old the job is. */
  async function whole(id) {
    soughtId = id;
    try {
      const job = await get(`/v1/jobs/${id}`, abort.signal);
      sought = job;
      show();
    } catch { /* there is none: the empty table says so */ }
  }

  async function more() {
    if (loading || next === null) return;
    loading = true;
    const mine = turn;
    try {
      const page = await get(wanted({ after: next }), abort.signal);
      if (mine !== turn) return;
      jobs = merged(jobs, page.data, next !== "");
      next = page.next;
      replace(failed);
      loading = false;
      show();
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn) { next = null; replace(failed, problemBox(error)); }
    } finally {
      if (mine === turn) loading = false;
    }
  }

  /** Read the newest page again, and the page of what is on the screen if something runs there. */
  async function refresh() {
    if (document.hidden || loading || !jobs.length && next === null && failed.firstChild) return;
    const mine = turn;
    try {
      const cursors = [""];
      const visible = table.rows.slice(table.first, table.end);
      if (table.first > PAGE / 2 && visible.some((job) => !FINAL.has(job.status))) {
        cursors.push(table.rows[table.first - 1].id);
      }
      for (const after of cursors) {
        const page = await get(wanted({ after, limit: after ? 60 : PAGE }), abort.signal);
        if (mine !== turn) return;
        jobs = merged(jobs, page.data, after !== "");
        if (!after && next === "") next = page.next;
      }
      show();
    } catch { /* said by the link sign; the next turn tries again */ }
  }

  function restart() {
    turn += 1;
    jobs = [];
    next = "";
    loading = false;
    table.node.scrollTop = 0;
    const chosen = query({ status: status.value, workflow: workflow.value, range: range.value, id: part.value.trim() });
    history.replaceState(null, "", `#/jobs${chosen}`);
    more();
  }

  function refreshAges() {
    for (const { node, row } of table.drawn.values()) setText(node.querySelector("time"), ago(row.created_s));
  }

  for (const control of [status, workflow, range]) control.addEventListener("change", restart);
  part.addEventListener("input", show);
  replace(root,
    heading("Jobs", el("a", { class: "button", href: "#/jobs/new" }, "New job")),
    el("div", { class: "filters", role: "search" }, field("Status", status), field("Workflow", workflow), field("Created", range), field("Id", part)),
    failed,
    el("div", { class: "card flush" }, table.node, el("div", { class: "foot" }, shown, note)));
  status.value = parameters.get("status") ?? "";
  range.value = parameters.get("range") ?? "";
  part.value = parameters.get("id") ?? "";
  const asked = parameters.get("workflow") ?? "";
  if (asked) { workflow.append(el("option", { value: asked }, asked)); workflow.value = asked; }
  get("/v1/workflows", abort.signal).then(({ data }) => {
    for (const { name } of data) if (name !== asked) workflow.append(el("option", { value: name }, name));
  }).catch(() => {});
  more();
  const timer = setInterval(refresh, EVERY_MS);
  return () => { abort.abort(); clearInterval(timer); clearInterval(ages); table.dispose(); };
}

/** Put a page into the list; rows that did not change keep their objects, so nothing is redrawn. */
function merged(jobs, page, behind) {
  const known = new Map(jobs.map((job, index) => [job.id, index]));
  const result = [...jobs];
  const fresh = [];
  for (const job of page) {
    const index = known.get(job.id);
    if (index === undefined) fresh.push(job);
    else if (!same(result[index], job)) result[index] = job;
  }
  if (!fresh.length) return result;
  const all = behind ? [...result, ...fresh] : [...fresh, ...result];
  return all.sort((one, two) => two.created_s - one.created_s || (two.id > one.id ? 1 : -1));
}

function same(one, two) {
  return one.last_seq === two.last_seq && one.status === two.status && one.position === two.position;
}

