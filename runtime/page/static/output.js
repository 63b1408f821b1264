// What a job gave: rows as a table where it has rows, else as JSON.

import { el } from "./dom.js";
import { count } from "./format.js";

const MOST_ROWS = 500;
const MOST_CHARS = 200_000;

export function outputOf(value, over) {
  if (value === null || value === undefined) return el("p", { class: "muted" }, over ? "The job has no output." : "Not yet.");
  if (typeof value !== "object") return plain(String(value));
  const found = tabular(value);
  if (!found) return plain(JSON.stringify(value, null, 2));
  const { columns, rows, rest } = found;
  return el("div", { class: "output" },
    rest.sql ? el("pre", { class: "sql" }, rest.sql) : null,
    rest.error ? el("p", {}, rest.error) : null,
    columns.length ? el("table", { class: "compact", "aria-label": "Rows" },
      el("thead", {}, el("tr", {}, columns.map((name, index) => el("th", { scope: "col", class: numeric(rows, index) ? "num" : null }, name)))),
      el("tbody", {}, rows.slice(0, MOST_ROWS).map((row) => el("tr", {}, row.map((cell) => el("td", { class: typeof cell === "number" ? "num" : null, title: long(cell) }, written(cell))))))) : null,
    el("p", { class: "muted" }, `${count(rows.length)} ${rows.length === 1 ? "row" : "rows"}${rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} shown` : ""}${rest.truncated ? "; there are more" : ""}`),
    others(rest));
}

function plain(text) {
  const more = text.length > MOST_CHARS ? el("p", { class: "muted" }, `The first ${count(MOST_CHARS)} of ${count(text.length)} characters; the API has them all.`) : null;
  return el("div", { class: "output" }, el("pre", {}, text.slice(0, MOST_CHARS)), more);
}

/** {columns, rows} of text_to_sql, or a list of equal objects. */
function tabular(value) {
  if (Array.isArray(value.columns) && Array.isArray(value.rows) && value.rows.every(Array.isArray)) {
    const { columns, rows, ...rest } = value;
    return { columns: columns.map(String), rows, rest };
  }
  if (!Array.isArray(value) || !value.length || value.some((row) => row === null || typeof row !== "object" || Array.isArray(row))) return null;
  const columns = [...new Set(value.slice(0, 50).flatMap(Object.keys))];
  return { columns, rows: value.map((row) => columns.map((name) => row[name])), rest: {} };
}

function others(rest) {
  const named = Object.entries(rest).filter(([name, value]) => !["sql", "error", "truncated"].includes(name) && value !== "" && value !== null);
  return named.length ? el("dl", { class: "facts" }, named.map(([name, value]) => [el("dt", {}, name), el("dd", {}, written(value))])) : null;
}

function numeric(rows, index) {
  return rows.length > 0 && typeof rows[0][index] === "number";
}

function written(cell) {
  if (cell === null || cell === undefined) return "NULL";
  return typeof cell === "object" ? JSON.stringify(cell) : String(cell);
}

function long(cell) {
  const text = written(cell);
  return text.length > 40 ? text : null;
}
