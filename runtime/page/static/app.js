// The shell: which view is shown, the theme, the key, the shortcuts.

import { key, setKey } from "./api.js";
import { ask, tell } from "./dialog.js";
import { el, replace, say } from "./dom.js";
import { fleetView } from "./fleet.js";
import { jobView } from "./job.js";
import { jobsView } from "./jobs.js";
import { planView } from "./plan.js";
import { schemaInput } from "./schema_form.js";
import { submitView } from "./submit.js";

const ROUTES = [
  [/^\/jobs$/, "jobs", "Jobs", jobsView],
  [/^\/jobs\/new$/, "jobs", "New job", submitView],
  [/^\/jobs\/([^/]+)$/, "jobs", "Job", jobView],
  [/^\/fleet$/, "fleet", "Fleet", fleetView],
  [/^\/plan$/, "plan", "Plan", planView],
];
const main = document.getElementById("main");
let dispose = () => {};
let shown = null;

function show() {
  const [path, search = ""] = (location.hash.slice(1) || "/jobs").split("?");
  const found = ROUTES.map(([pattern, ...rest]) => [path.match(pattern), ...rest]).find(([match]) => match);
  if (!found) { location.replace("#/jobs"); return; }
  const [match, name, title, view] = found;
  dispose();
  document.getElementById("dialog").close();
  document.title = `${title} · gangline`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  replace(main);
  dispose = view(main, match.slice(1).map(decoded), new URLSearchParams(search));
  if (shown !== null && shown !== path) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
  shown = path;
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("gangline.theme", next);
  say(`The page is ${next} now.`);
}

function askKey() {
  if (document.getElementById("dialog").open) return;
  const input = schemaInput({ name: "API key", schema: { type: "string", maxLength: 80 }, required: true });
  input.control.type = "password";
  input.control.removeAttribute("maxlength");
  input.control.autocomplete = "off";
  ask({
    title: "API key", text: `Kept in this tab until it is closed, and sent to this server only. ${key() ? "One is set now." : "Make one with `gangline keys create`."}`,
    inputs: [input], confirm: "Use this key",
    act: async ([value]) => { setKey(value.trim()); setTimeout(show); },
  });
}

const SHORTCUTS = [
  ["g j", "Jobs"], ["g f", "Fleet"], ["g p", "Plan explorer"], ["n", "New job"], ["/", "Filter"],
  ["j, k, arrows", "Walk rows, or nodes of a graph"], ["Enter", "Open"], ["+, −, 0", "Zoom a graph"], ["t", "Light or dark"], ["?", "This help"],
];

function help() {
  tell("Keyboard", el("dl", { class: "facts" }, SHORTCUTS.map(([keys, text]) => [el("dt", {}, el("kbd", {}, keys)), el("dd", {}, text)])));
}

let last = "";
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const goes = { j: "#/jobs", f: "#/fleet", p: "#/plan" };
  if (last === "g" && goes[event.key]) { location.hash = goes[event.key]; event.stopImmediatePropagation(); event.preventDefault(); }
  else if (event.key === "n") { location.hash = "#/jobs/new"; event.preventDefault(); }
  else if (event.key === "/") { document.querySelector("input[type=search]")?.focus(); event.preventDefault(); }
  else if (event.key === "t") switchTheme();
  else if (event.key === "?") help();
  last = event.key;
}

document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("key").addEventListener("click", askKey);
document.getElementById("help").addEventListener("click", help);
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
window.addEventListener("gangline:needs-key", askKey);
window.addEventListener("keydown", pressed, true);
window.addEventListener("hashchange", show);
show();
