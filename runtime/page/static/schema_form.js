// Inputs made from JSON Schema: enough of it for what workflows and questions ask.

import { el, setText } from "./dom.js";

let numbered = 0;

/**
 * One input: {name, schema, required, default, hint}. Gives {node, read}: `read` gives the value
 * (undefined: left out) or throws with words for the person who typed it.
 */
export function schemaInput({ name, schema, required, value, hint }) {
  const id = `in-${numbered += 1}`;
  const control = controlOf(id, schema ?? {}, value, required);
  const wrong = el("div", { class: "wrong", id: `${id}-wrong`, hidden: true });
  control.setAttribute("aria-describedby", wrong.id);
  const node = el("div", { class: "field" },
    el("label", { for: id }, name, required ? null : el("span", { class: "hint" }, " (optional)"), hint ? el("span", { class: "hint" }, ` · ${hint}`) : null),
    control, wrong);

  function read() {
    wrong.hidden = true;
    control.removeAttribute("aria-invalid");
    try {
      const found = valueOf(control, schema ?? {});
      if (found === undefined && required) throw new Error("This is needed.");
      return found;
    } catch (error) {
      setText(wrong, error.message);
      wrong.hidden = false;
      control.setAttribute("aria-invalid", "true");
      control.focus();
      throw error;
    }
  }
  return { node, control, read };
}

function kind(schema) {
  const found = Array.isArray(schema.type) ? schema.type.find((name) => name !== "null") : schema.type;
  return found ?? schema.anyOf?.map((one) => one.type).find((name) => name && name !== "null") ?? "any";
}

function controlOf(id, schema, value, required) {
  if (schema.enum) {
    return el("select", { id }, required ? null : el("option", { value: "" }, ""),
      schema.enum.map((choice) => el("option", { value: JSON.stringify(choice), selected: choice === value }, String(choice))));
  }
  const text = value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 2);
  switch (kind(schema)) {
    case "boolean": return el("input", { id, type: "checkbox", checked: value === true });
    case "integer": return el("input", { id, type: "number", step: 1, min: schema.minimum, max: schema.maximum, value: text });
    case "number": return el("input", { id, type: "number", step: "any", min: schema.minimum, max: schema.maximum, value: text });
    case "string": return schema.maxLength && schema.maxLength <= 80 || schema.format
      ? el("input", { id, type: "text", value: text, maxlength: schema.maxLength })
      : el("textarea", { id, rows: 2, value: text });
    default: return el("textarea", { id, rows: 4, class: "mono", value: text, placeholder: "JSON", spellcheck: "false" });
  }
}

function valueOf(control, schema) {
  if (control.type === "checkbox") return control.checked;
  const text = control.value;
  if (schema.enum) return text === "" ? undefined : JSON.parse(text);
  switch (kind(schema)) {
    case "integer":
    case "number": {
      if (control.validity.badInput) throw new Error("This is no number.");
      if (text === "") return undefined;
      const number = Number(text);
      if (kind(schema) === "integer" && !Number.isInteger(number)) throw new Error("This must be a whole number.");
      return number;
    }
    case "string": return text === "" ? undefined : text;
    default:
      if (text.trim() === "") return undefined;
      try { return JSON.parse(text); } catch {
        if (kind(schema) === "any") return text;
        throw new Error("This is not JSON.");
      }
  }
}
