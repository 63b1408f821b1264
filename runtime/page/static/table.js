// A table that holds thousands of rows and puts only those into the page that can be seen.

import { el, replace } from "./dom.js";

const SPARE = 8; // rows beyond the window, so that a small scroll shows no gap

/**
 * columns: {title, class, width, render(row) -> child}. A row is drawn anew when its object
 * changed. `open(row)` is what Enter or a click does; `nearEnd()` asks for more rows.
 */
export class Table {
  constructor({ label, columns, rowHeight = 38, open = null, nearEnd = null, key = (row) => row.id, empty = "Nothing here.", compact = false }) {
    Object.assign(this, { columns, rowHeight, open, nearEnd, key, empty });
    this.rows = [];
    this.drawn = new Map(); // key -> {row, node}
    this.active = null;
    this.top = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length }));
    this.bottom = this.top.cloneNode(true);
    this.body = el("tbody", {}, this.top, this.bottom);
    this.table = el("table", { class: `fixed rows ${compact ? "compact" : ""}`, "aria-label": label },
      el("colgroup", {}, columns.map((column) => {
        const col = el("col", {});
        if (column.width) col.style.width = column.width;
        return col;
      })),
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", class: column.class }, column.title)))),
      this.body);
    // Columns without a width share what is left, and at least a name's room each.
    this.table.style.minWidth = `${columns.reduce((sum, column) => sum + (parseInt(column.width, 10) || column.least || 170), 0)}px`;
    this.none = el("div", { class: "empty" }, empty);
    this.node = el("div", { class: "scroll", onscroll: () => this.soon(), onkeydown: (event) => this.keyed(event) }, this.table, this.none);
    this.observer = new ResizeObserver(() => this.soon());
    this.observer.observe(this.node);
  }

  dispose() {
    this.observer.disconnect();
  }

  set(rows) {
    this.rows = rows;
    this.draw();
  }

  soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const { rows, rowHeight } = this;
    this.none.hidden = rows.length > 0;
    this.table.setAttribute("aria-rowcount", rows.length + 1);
    const room = Math.ceil((this.node.clientHeight || 600) / rowHeight);
    const last = Math.max(0, rows.length - room);
    const first = Math.max(0, Math.min(Math.floor(this.node.scrollTop / rowHeight), last) - SPARE);
    const end = Math.min(rows.length, first + room + 2 * SPARE);
    this.top.firstChild.style.height = `${first * rowHeight}px`;
    this.bottom.firstChild.style.height = `${(rows.length - end) * rowHeight}px`;
    const seen = new Set();
    let before = this.top;
    for (let index = first; index < end; index += 1) {
      const node = this.rowNode(rows[index], index);
      seen.add(this.key(rows[index]));
      if (before.nextSibling !== node) before.after(node);
      before = node;
    }
    for (const [key, { node }] of this.drawn) {
      if (!seen.has(key)) { node.remove(); this.drawn.delete(key); }
    }
    this.first = first;
    this.end = end;
    if (this.nearEnd && end >= rows.length - room) this.nearEnd();
  }

  rowNode(row, index) {
    const key = this.key(row);
    let drawn = this.drawn.get(key);
    if (!drawn) {
      drawn = { row: null, node: el("tr", {}) };
      if (this.open) drawn.node.addEventListener("click", (event) => {
        if (!event.target.closest("a") && !getSelection().toString()) this.open(drawn.row);
      });
      this.drawn.set(key, drawn);
    }
    if (drawn.row !== row) {
      const focused = drawn.node.contains(document.activeElement);
      replace(drawn.node, this.columns.map((column) => el("td", { class: column.class }, column.render(row))));
      drawn.row = row;
      const link = drawn.node.querySelector("a");
      if (link) {
        link.tabIndex = key === (this.active ?? this.key(this.rows[0])) ? 0 : -1;
        if (focused) link.focus({ preventScroll: true });
      }
    }
    drawn.node.setAttribute("aria-rowindex", index + 2);
    drawn.node.classList.toggle("on", key === this.selected);
    return drawn.node;
  }

  /** Arrow keys, j and k walk the rows; one row at a time is in the tab order. */
  keyed(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const now = this.rows.findIndex((row) => this.key(row) === this.active);
    this.focus(Math.max(0, Math.min(this.rows.length - 1, Math.max(now, 0) + step)));
  }

  focus(index) {
    if (!this.rows[index]) return;
    const old = this.drawn.get(this.active)?.node.querySelector("a");
    if (old) old.tabIndex = -1;
    this.active = this.key(this.rows[index]);
    const top = index * this.rowHeight;
    const head = this.rowHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + 2 * head > this.node.scrollTop + this.node.clientHeight) this.node.scrollTop = top + 2 * head - this.node.clientHeight;
    this.draw();
    const link = this.drawn.get(this.active)?.node.querySelector("a");
    if (link) { link.tabIndex = 0; link.focus({ preventScroll: true }); }
  }
}
