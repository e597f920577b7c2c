// What all pages share: loading data, making elements, and numbers in plain words. Text from records only ever becomes
// text: nothing here, or anywhere, parses it as HTML.
"use strict";
const lynxbench = (() => {
  const waiting = new Map();
  const loaded = new Map();
  let site = null;

  // Called by data/site.js.
  const begin = (about) => {
    site = about;
  };

  // Called by a chunk.
  const receive = (name, data) => waiting.get(name)?.resolve(data);

  // The rows of a chunk. A script element is the one way to load data from a folder.
  const load = (name) => {
    if (!loaded.has(name)) {
      loaded.set(
        name,
        new Promise((resolve, reject) => {
          waiting.set(name, { resolve });
          const script = document.createElement("script");
          script.src = `data/${name}.js`;
          script.onerror = () => reject(new Error(`data/${name}.js is not there`));
          script.onload = () => {
            waiting.delete(name);
            script.remove();
          };
          document.head.append(script);
        }).then(decode),
      );
    }
    return loaded.get(name);
  };

  const decode = (data) => {
    if (data.json) return data.json;
    const text = atob(data.parquet);
    const bytes = new Uint8Array(text.length);
    for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
    return libraries.parquetReadObjects({ file: bytes.buffer });
  };

  // An element with attributes and children; strings become text.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  // A titled part of a page, a table with a caption, and room to scroll what is wide.
  const section = (id, title, ...children) => make("section", { "aria-labelledby": id, class: "card" }, make("h2", { id }, title), ...children);
  const table = (caption, headings, rows, numbers = []) =>
    make(
      "table",
      { class: "plain" },
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...headings.map((text, place) => make("th", { scope: "col", class: numbers.includes(place) ? "number" : null }, text)))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, place) => make("td", { class: numbers.includes(place) ? "number" : null }, cell))))),
    );
  const scroll = (label, ...children) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);

  const NONE = "–";
  const known = (value) => value !== null && value !== undefined;
  const three = (value) => (value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0));
  const scaled = (value, steps, last) => {
    if (!known(value)) return NONE;
    for (const [unit, size] of steps) if (value >= size) return `${three(value / size)} ${unit}`;
    return `${value.toFixed(0)} ${last}`;
  };
  const duration = (ns) => scaled(ns, [["s", 1e9], ["ms", 1e6], ["µs", 1e3]], "ns");
  const size = (bytes) => scaled(bytes, [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]], "B");
  const whole = (value) => (known(value) ? value.toLocaleString("en") : NONE);

  // With a true minus, and no negative zero.
  const signed = (value, digits) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? (0).toFixed(digits) : `${value > 0 ? "+" : "−"}${text.replace("-", "")}`;
  };
  const ratio = (value, low, high) => {
    if (!known(value)) return NONE;
    const digits = value < 0.2 ? 3 : 2;
    const text = (one) => one.toFixed(digits);
    if (!known(low) || !known(high) || high <= low) return `${text(value)}×`;
    const half = Math.max(value - low, high - value);
    return half <= value / 2 ? `${text(value)}× ±${text(half)}` : `${text(value)}× [${text(low)}, ${text(high)}]`;
  };
  const score = (value, unit) => (!known(value) ? NONE : unit === "fraction" ? `${(100 * value).toFixed(1)} %` : value.toFixed(3));
  const change = (value, low, high, unit) => {
    if (!known(value)) return NONE;
    const [scale, digits] = unit === "fraction" ? [100, 1] : [1, 3];
    const ends = known(low) && known(high) ? ` [${signed(low * scale, digits)}, ${signed(high * scale, digits)}]` : "";
    return signed(value * scale, digits) + ends;
  };
  const points = (unit) => (unit === "fraction" ? "points" : unit);

  return {
    begin, receive, load, make, section, table, scroll, known, duration, size, whole, signed, ratio, score, change, points, NONE,
    get site() {
      return site;
    },
  };
})();
