// One dialog for all: questions with inputs, confirmations, help.

import { el, problemBox, replace } from "./dom.js";

/**
 * Ask in a dialog. `inputs` are of schema_form, `act(values)` may throw a problem, which is shown
 * with the dialog left open. Focus goes back to where it was.
 */
export function ask({ title, text = "", inputs = [], confirm, danger = false, act }) {
  const dialog = document.getElementById("dialog");
  const failed = el("div", {});
  const go = el("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
  const form = el("form", { class: "form", novalidate: true, onsubmit: submit },
    el("h2", {}, title), text ? el("p", { class: "muted" }, text) : null, failed,
    inputs.map((input) => input.node),
    el("div", { class: "actions" }, go, el("button", { type: "button", onclick: () => dialog.close() }, "Back")));

  async function submit(event) {
    event.preventDefault();
    let values;
    try { values = inputs.map((input) => input.read()); } catch { return; }
    go.disabled = true;
    try {
      await act(values);
      dialog.close();
    } catch (error) {
      replace(failed, problemBox(error));
      go.disabled = false;
    }
  }
  replace(dialog, form);
  dialog.setAttribute("aria-label", title);
  if (!dialog.open) dialog.showModal();
  (inputs[0]?.control ?? go).focus();
}

export function tell(title, ...children) {
  const dialog = document.getElementById("dialog");
  replace(dialog, el("h2", {}, title), children, el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.setAttribute("aria-label", title);
  if (!dialog.open) dialog.showModal();
}
