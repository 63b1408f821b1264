// Small charts, drawn as SVG by hand: they follow the theme and need no inline style.

import { el, svg } from "./dom.js";

/** Round values between low and high, some four to six of them. */
export function ticks(high, most = 5) {
  if (!(high > 0)) return [0];
  const power = 10 ** Math.floor(Math.log10(high / most));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => high / size <= most + 1);
  return Array.from({ length: Math.floor(high / step + 1e-9) + 1 }, (_, index) => index * step);
}

export function chart(width, height, label, ...children) {
  return svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
}

export function legend(...items) {
  return el("div", { class: "legend" }, items.map(([name, text]) => el("span", { class: name }, text)));
}

/** A line of the last values (`most` fill it), 0 at the bottom and `high` at the top. */
export function spark(values, most, high, label, width = 200, height = 28) {
  const top = high || Math.max(...values, 1e-12);
  const step = width / Math.max(1, most - 1);
  const first = width - step * (values.length - 1);
  const points = values.map((value, index) => `${(first + index * step).toFixed(1)},${(height - 2 - (height - 4) * Math.min(1, value / top)).toFixed(1)}`);
  return chart(width, height, label,
    svg("polygon", { class: "under", points: `${first.toFixed(1)},${height} ${points.join(" ")} ${width},${height}` }),
    svg("polyline", { class: "spark", points: points.join(" ") }));
}

/** A share from 0 to 1 as a small bar. */
export function meter(share, label) {
  const used = Math.max(0, Math.min(1, share ?? 0));
  return svg("svg", { class: "meter", viewBox: "0 0 90 8", role: "img", "aria-label": label },
    svg("rect", { class: "room", width: 90, height: 8 }),
    svg("rect", { class: `used ${used > 0.85 ? "high" : ""}`, width: 90 * used, height: 8 }));
}

/** Dots on one axis from 0: rows of {label, marks: [{value, class, title}]}, a limit where given. */
export function dots(rows, { label, text, limit = null, width = innerWidth < 700 ? 400 : 640, left = 150 }) {
  const values = rows.flatMap((row) => row.marks.map((mark) => mark.value)).filter((value) => value !== null && value !== undefined);
  const high = 1.08 * Math.max(...values, limit ?? 0, 1e-12);
  const at = (value) => left + (width - left - 20) * value / high;
  const height = 34 * rows.length + 30;
  const bottom = height - 22;
  const drawn = chart(width, height, label,
    ticks(high, width < 500 ? 3 : 5).map((value) => [
      svg("line", { class: "grid", x1: at(value), x2: at(value), y1: 0, y2: bottom }),
      svg("text", { x: at(value), y: height - 6, "text-anchor": "middle" }, text(value)),
    ]),
    limit === null ? null : [svg("line", { class: "limit", x1: at(limit), x2: at(limit), y1: 0, y2: bottom })],
    rows.map((row, index) => {
      const y = 34 * index + 18;
      const found = row.marks.filter((mark) => mark.value !== null && mark.value !== undefined);
      const places = found.map((mark) => at(mark.value));
      return [
        row.sub ? svg("text", { x: 0, y: y + 13 }, row.sub.length > 26 ? `${row.sub.slice(0, 25)}…` : row.sub) : null,
        svg("text", { class: "label", x: 0, y: y + (row.sub ? -1 : 4) }, row.label.length > 22 ? `${row.label.slice(0, 21)}…` : row.label),
        places.length > 1 ? svg("line", { class: "span", x1: Math.min(...places), x2: Math.max(...places), y1: y, y2: y }) : null,
        found.map((mark) => svg("circle", { class: `dot ${mark.class ?? ""}`, cx: at(mark.value), cy: y, r: 5 }, svg("title", {}, `${mark.title}: ${text(mark.value)}`))),
      ];
    }));
  drawn.classList.add("dots");
  return drawn;
}
