// Calls of the REST API, and its event streams with reconnection.

const KEY = "gangline.key";

export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `HTTP ${status}`);
    this.status = status;
    for (const name of ["title", "detail", "code", "where", "next_step", "retryable"]) this[name] = document[name];
  }
}

export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

function headers(more) {
  const found = { ...more };
  if (key()) found.Authorization = `Bearer ${key()}`;
  return found;
}

function online(is) {
  const link = document.getElementById("link");
  link.hidden = is;
  link.textContent = is ? "" : "The server does not answer; trying again";
}

async function failure(response) {
  let document_ = {};
  try { document_ = await response.json(); } catch { /* no JSON: the status has to do */ }
  if (response.status === 401) window.dispatchEvent(new Event("gangline:needs-key"));
  return new Problem(response.status, document_);
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    online(false);
    throw new Problem(0, { title: "No answer", detail: "The server does not answer.", next_step: "See whether it still runs; this page tries again by itself." });
  }
  online(true);
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get(path, signal) {
  const response = await send(path, { headers: headers({ Accept: "application/json" }), signal });
  return response.json();
}

export async function post(path, body = {}, more = {}) {
  const found = headers({ "Content-Type": "application/json", Accept: "application/json", ...more });
  const response = await send(path, { method: "POST", headers: found, body: JSON.stringify(body) });
  return response.json();
}

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return text ? `?${text}` : "";
}

/**
 * Read an event stream until `signal` aborts, `onEvent` gives true, or the stream ends and
 * `isOver` gives true. EventSource cannot send a key, so the stream is read from a fetch; after
 * a cut it goes on behind the last id seen.
 */
export async function follow(path, onEvent, isOver, signal) {
  let last = "";
  let pause = 250;
  while (!signal.aborted) {
    try {
      const more = last ? { "Last-Event-ID": last } : {};
      const response = await send(path, { headers: headers({ Accept: "text/event-stream", ...more }), signal });
      for await (const event of events(response.body)) {
        pause = 250;
        if (event.id) last = event.id;
        if (onEvent(event)) return;
      }
      if (await isOver()) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    }
    await new Promise((done) => { setTimeout(done, pause); });
    pause = Math.min(2 * pause, 5000);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest = (rest + value).replaceAll("\r\n", "\n");
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = parsed(rest.slice(0, end));
      rest = rest.slice(end + 2);
      if (event.data) yield event;
    }
  }
}

function parsed(block) {
  const event = { id: "", type: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const name = line.slice(0, colon);
    if (name === "data") event.data += (event.data ? "\n" : "") + value;
    else if (name === "event") event.type = value;
    else if (name === "id") event.id = value;
  }
  if (event.data) event.data = JSON.parse(event.data);
  return event;
}
