// Numbers as people read them; units are always written.

export const NONE = "–";

export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (size < 1) return `${(value * 1000).toPrecision(3)} ms`;
  if (size < 60) return `${value.toPrecision(3)} s`;
  if (size < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
}

/** Three digits that count, but never less than cents: $0.20, $0.000121. */
export function usd(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (value === 0) return "$0";
  const size = Math.abs(value);
  if (size < 1e-7) return "≈ $0";
  const digits = size >= 1 ? 2 : Math.min(7, Math.max(2, 2 - Math.floor(Math.log10(size))));
  return `$${value.toFixed(digits).replace(/(\.\d\d+?)0+$/, "$1")}`;
}

export function count(value) {
  return value === null || value === undefined ? NONE : Math.round(value).toLocaleString("en-US");
}

export function percent(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return `${(100 * value).toFixed(value !== 0 && Math.abs(value) < 0.1 ? 1 : 0)} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let index = 0;
  let size = value;
  while (size >= 1000 && index < units.length - 1) { size /= 1000; index += 1; }
  return `${size.toPrecision(3)} ${units[index]}`;
}

/** "−18 %", "+40 %", "4.5×": actual against predicted. */
export function against(actual, predicted) {
  if (!predicted || actual === null || actual === undefined) return "";
  const off = actual / predicted - 1;
  if (off >= 2) return `${(off + 1) < 9.95 ? (off + 1).toFixed(1) : count(off + 1)}×`;
  return `${off >= 0 ? "+" : "−"}${Math.abs(100 * off).toFixed(0)} %`;
}

export function ago(time, now = Date.now() / 1000) {
  if (!time) return NONE;
  const past = Math.max(0, now - time);
  if (past < 5) return "just now";
  if (past < 60) return `${Math.floor(past)} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 86400) return `${Math.floor(past / 3600)} h ago`;
  return new Date(time * 1000).toISOString().slice(0, 10);
}

export function clock(time) {
  return time ? new Date(time * 1000).toLocaleString("en-GB", { hour12: false }) : NONE;
}

export function until(time, now = Date.now() / 1000) {
  if (!time) return NONE;
  return time >= now ? `in ${seconds(time - now)}` : `${seconds(now - time)} ago`;
}

export const WORDS = { input_required: "needs input" };
export const FINAL = new Set(["succeeded", "failed", "cancelled", "expired", "rejected"]);

export function word(status) {
  return WORDS[status] ?? status;
}

/** The short form of a job's id: its end, which is the random part. */
export function shortId(id) {
  return id.length > 12 ? id.slice(-12) : id;
}
