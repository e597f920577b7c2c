// A table that sorts by its headings and is read page by page; on a phone each row becomes a card.
"use strict";
(() => {
  const { make } = lynxbench;

  // `columns`: {key, label, title?, text(row), sort?(row), number?, cell?(row) → element}. Nulls sort last either way.
  const sorted = (rows, column, descending) => {
    if (!column) return rows;
    const value = column.sort ?? ((row) => row[column.key]);
    const keyed = rows.map((row, place) => [value(row), place, row]);
    const way = descending ? -1 : 1;
    keyed.sort(([a, first], [b, second]) => {
      if (a === b) return first - second;
      if (a === null || a === undefined) return 1;
      if (b === null || b === undefined) return -1;
      return (a < b ? -1 : 1) * way;
    });
    return keyed.map((entry) => entry[2]);
  };

  // Roles are spelled out: as cards, the elements are no table to a browser.
  const draw = (columns, rows, { caption, sort, onSort }) => {
    const headings = columns.map((column) => {
      const active = sort.key === column.key;
      const state = active ? (sort.descending ? "descending" : "ascending") : "none";
      const button = make(
        "button",
        { type: "button", title: column.title, "data-key": column.key, onclick: () => onSort(column.key) },
        column.label,
        make("span", { "aria-hidden": "true", class: "arrow" }, active ? (sort.descending ? " ▼" : " ▲") : ""),
      );
      return make("th", { role: "columnheader", scope: "col", "aria-sort": state, class: column.number ? "number" : null }, button);
    });
    const body = rows.map((row) =>
      make(
        "tr",
        { role: "row", class: row.unranked ? "unranked" : null },
        ...columns.map((column) =>
          make(
            "td",
            { role: "cell", "data-label": column.label, class: `c-${column.key}${column.number ? " number" : ""}` },
            make("span", {}, column.cell ? column.cell(row) : column.text(row)),
          ),
        ),
      ),
    );
    return make(
      "table",
      { role: "table" },
      make("caption", {}, caption),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...headings)),
      make("tbody", { role: "rowgroup" }, ...body),
    );
  };

  lynxbench.table = { sorted, draw };
})();
