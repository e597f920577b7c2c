// The charts. They draw what Python computed: no rank, class or interval is worked out here.
"use strict";
(() => {
  const { known, duration, ratio, change, points, signed, make } = lynxbench;
  const Plot = libraries;

  // Okabe and Ito's colours, each with a shade for either scheme (site.css): tellable apart with any colour vision.
  const PROVIDERS = [
    "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider", "WebGpuExecutionProvider",
    "QNNExecutionProvider", "TensorrtExecutionProvider", "CoreMLExecutionProvider",
  ];
  const ALIASES = {
    NvTensorRTRTXExecutionProvider: "TensorrtExecutionProvider", DmlExecutionProvider: "WebGpuExecutionProvider",
    MIGraphXExecutionProvider: "CUDAExecutionProvider",
  };
  const colour = (provider) => {
    const place = PROVIDERS.indexOf(ALIASES[provider] ?? provider);
    return place < 0 ? "var(--provider-other)" : `var(--provider-${place})`;
  };
  const SHAPES = [
    ["float", "circle", ["fp32", "fp16", "bf16"]], ["fp8", "star", ["fp8"]],
    ["int8 dynamic", "triangle", ["int8-dynamic"]], ["int8 static", "square", ["int8-static"]],
    ["weights only", "diamond", ["weights-only"]],
  ];
  const shape = (kind) => SHAPES.find(([, , kinds]) => kinds.includes(kind))?.[1] ?? "circle";
  const SYMBOLS = {
    circle: libraries.symbolCircle, star: libraries.symbolStar, triangle: libraries.symbolTriangle,
    square: libraries.symbolSquare, diamond: libraries.symbolDiamond,
  };
  const NARROW = 600;
  const FAR = 8; // A delta of this many tolerances would squeeze the band to a line: the axis bends.

  // Screen readers get one picture with one description; Plot labels every group in it.
  const described = (svg, text) => {
    for (const inner of svg.querySelectorAll("[aria-label]")) inner.removeAttribute("aria-label");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", text);
    return svg;
  };

  const name = (row) => (row.reference ? `${row.scheme} (reference)` : row.scheme);

  // Δ in the unit that is shown; the reference's is exactly zero.
  const height = (row, scale) => (row.reference ? 0 : known(row.delta) ? row.delta * scale : null);

  const deltaAxis = (rows, workload, scale) => {
    const ends = rows.flatMap((row) => [row.delta_low ?? row.delta ?? 0, row.delta_high ?? row.delta ?? 0, row.delta ?? 0]);
    const tolerance = (rows.find((row) => known(row.tolerance))?.tolerance ?? 0) * scale;
    const least = tolerance || 1;
    const low = Math.min(-1.4 * least, ...ends.map((end) => end * scale));
    const high = Math.max(1.4 * least, ...ends.map((end) => end * scale));
    const bent = tolerance > 0 && Math.max(-low, high) > FAR * tolerance;
    const pad = bent ? 1.25 : 1.08;
    return {
      tolerance, bent,
      scale: {
        type: bent ? "symlog" : "linear", ...(bent ? { constant: tolerance } : {}),
        domain: [low * pad, high * pad], reverse: !workload.higher_is_better,
      },
      ticks: bent ? bentTicks(low * pad, high * pad, tolerance) : 6,
    };
  };

  // A symlog scale's own ticks crowd near zero: the tolerance, then round numbers outwards, at most six.
  const bentTicks = (low, high, tolerance) => {
    const far = Math.max(-low, high);
    for (const apart of [2, 4, 10, 40]) {
      const found = [tolerance];
      for (let power = Math.floor(Math.log10(tolerance)); power <= Math.log10(far); power += 1)
        for (const step of [1, 2, 5]) {
          const tick = Number((step * 10 ** power).toPrecision(1));
          if (tick >= apart * found.at(-1) && tick <= far) found.push(tick);
        }
      if (found.length <= 6) return [0, ...found.flatMap((tick) => [tick, -tick])].filter((tick) => tick >= low && tick <= high);
    }
    return [0, tolerance, -tolerance];
  };

  // Round numbers on a log axis, few enough to be read.
  const logTicks = (low, high, most) => {
    for (const steps of [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]]) {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
        for (const step of steps) if (step * 10 ** power >= low && step * 10 ** power <= high) ticks.push(step * 10 ** power);
      if (ticks.length <= most && ticks.length > 1) return ticks;
    }
    return [low, high].map((end) => Number(end.toPrecision(2)));
  };
  const shortDuration = (ns) => duration(ns).replace(/(\.\d*?)0+ /, (_, kept) => `${kept === "." ? "" : kept} `);
  const tick = (value) => signed(value, Number.isInteger(Number(value.toFixed(6))) ? 0 : Math.abs(value) < 0.1 ? 2 : 1);

  const described_tradeoff = (rows, axis, workload, heading) => {
    const standing = (wanted) => rows.filter((row) => row[`${axis}_class`] === wanted).map(name);
    const said = ["frontier", "tied", "dominated"]
      .map((wanted) => [wanted, standing(wanted)])
      .filter(([, names]) => names.length)
      .map(([wanted, names]) => `${wanted}: ${names.slice(0, 12).join(", ")}`);
    const unranked = rows.filter((row) => row.unranked).map(name);
    if (unranked.length) said.push(`not ranked: ${unranked.slice(0, 12).join(", ")}`);
    return `Trade-off of ${heading}, change of ${workload.metric} against ${axis === "latency" ? "median latency" : "throughput ratio"}. ${said.join("; ")}. The table below has all figures.`;
  };

  // One contest. `onPick(row)` when a point is clicked.
  const tradeoff = (rows, { axis, workload, heading, width, yFrom, onPick }) => {
    const scale = workload.unit === "fraction" ? 100 : 1;
    const latency = axis === "latency";
    const x = (row) => (latency ? row.p50 : row.speed);
    const shown = rows.filter((row) => known(x(row)) && known(height(row, scale)));
    if (!shown.length) return make("p", { class: "note" }, "No row has both a speed and a Δ.");
    const y = deltaAxis(yFrom, workload, scale);
    const at = { x, y: (row) => height(row, scale) };
    const standing = (row) => row[`${axis}_class`];
    const frontier = shown.filter((row) => standing(row) === "frontier").sort((a, b) => x(a) - x(b));
    const narrow = window.innerWidth < NARROW;
    const format = latency ? shortDuration : (value) => `${Number(value.toPrecision(3))}×`;
    const values = shown.flatMap((row) => [x(row), latency && standing(row) === "frontier" && known(row.p99) ? row.p99 : x(row)]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = Math.max(1.12, (most / least) ** 0.08);
    // Intervals of what is not ranked stay, fainter: they are why it is not.
    const faint = (row) => (standing(row) ? 0.9 : 0.35);
    const worse = workload.higher_is_better ? -1 : 1;
    const svg = Plot.plot({
      width, height: narrow ? 260 : width > 800 ? 360 : 300, marginLeft: 46, marginRight: 14, marginBottom: 36, marginTop: 22,
      style: { background: "transparent", color: "var(--ink)", fontSize: "11px", fontFamily: "inherit" },
      x: { type: "log", domain: [least / room, most * room], grid: true, ticks: logTicks(least / room, most * room, Math.max(3, Math.floor(width / 75))), tickFormat: format, label: latency ? "p50 latency (log) →" : "speed, × the reference (log) →", labelAnchor: "right", labelArrow: "none" },
      y: { ...y.scale, grid: true, ticks: y.ticks, tickFormat: tick, label: `Δ ${workload.metric}, ${points(workload.unit)}${y.bent ? " (log beyond the tolerance)" : ""}`, labelArrow: "none", labelAnchor: "top" },
      marks: [
        y.tolerance ? Plot.rect([y.tolerance], { y1: 0, y2: worse * y.tolerance, fill: "var(--band)" }) : null,
        Plot.ruleY([0], { stroke: "var(--axis)", strokeWidth: 1 }),
        // Where it ends matters more than where it is.
        y.tolerance ? Plot.ruleY([worse * y.tolerance], { stroke: "var(--axis)", strokeDasharray: "4,3" }) : null,
        frontier.length > 1 ? Plot.line(frontier, { ...at, curve: latency ? "step-after" : "step-before", stroke: "var(--axis)", strokeWidth: 1.25 }) : null,
        Plot.ruleX(shown.filter((row) => !row.reference && known(row.delta_low)), {
          x, y1: (row) => row.delta_low * scale, y2: (row) => row.delta_high * scale,
          stroke: { value: (row) => colour(row.provider), scale: null }, strokeOpacity: faint, strokeWidth: 1.5,
        }),
        Plot.ruleY(frontier.filter((row) => (latency ? known(row.p99) : known(row.speed_low))), {
          y: at.y, x1: latency ? "p50" : "speed_low", x2: latency ? "p99" : "speed_high",
          stroke: { value: (row) => colour(row.provider), scale: null }, strokeWidth: 1.25,
        }),
        Plot.dot(shown.filter((row) => standing(row) !== "frontier"), {
          ...at, r: 4.5, symbol: { value: (row) => SYMBOLS[shape(row.kind)], scale: null },
          fill: { value: (row) => (standing(row) === "tied" ? `color-mix(in srgb, ${colour(row.provider)} 45%, var(--paper))` : "var(--paper)"), scale: null },
          stroke: { value: (row) => colour(row.provider), scale: null }, strokeWidth: 1.75,
          strokeOpacity: (row) => (standing(row) ? 1 : 0.45),
        }),
        Plot.dot(frontier, {
          ...at, r: 6, symbol: { value: (row) => SYMBOLS[shape(row.kind)], scale: null },
          fill: { value: (row) => colour(row.provider), scale: null }, stroke: "var(--paper)", strokeWidth: 1,
        }),
        Plot.tip(shown, Plot.pointer({
          ...at, fill: "var(--paper)", stroke: "var(--axis)",
          title: (row) =>
            [
              name(row), `${row.executor} · ${row.host}`,
              `${duration(row.p50)} p50, ${ratio(row.speed, row.speed_low, row.speed_high)}`,
              row.reference ? "reference" : `Δ ${change(row.delta, row.delta_low, row.delta_high, workload.unit)} ${points(workload.unit)}, ${row.verdict}`,
              row.unranked ? `not ranked: ${row.unranked}` : `${standing(row) ?? "no figure on this axis"}${known(row[`${axis}_rank`]) ? `, rank ${row[`${axis}_rank`]}` : ""}`,
            ].join("\n"),
        })),
      ],
    });
    if (!narrow) label(svg, frontier, shown, x, at.y, width);
    svg.addEventListener("click", () => svg.value && onPick(svg.value));
    return described(svg, described_tradeoff(rows, axis, workload, heading));
  };

  // Names beside the frontier's points, where they cover neither a point nor another name.
  const label = (svg, frontier, shown, x, y, width) => {
    const [toX, toY] = [svg.scale("x").apply, svg.scale("y").apply];
    const taken = shown.map((row) => ({ left: toX(x(row)) - 6, right: toX(x(row)) + 6, top: toY(y(row)) - 6, bottom: toY(y(row)) + 6 }));
    for (const row of [...frontier].sort((a, b) => toY(y(a)) - toY(y(b)))) {
      const [from, line, length] = [toX(x(row)), toY(y(row)), 6.4 * name(row).length];
      const places = [-8, 16, -22, 30, -36, 44].flatMap((down) => [9, -9].map((aside) => ({
        aside, base: line + down, left: aside > 0 ? from + aside : from + aside - length, right: aside > 0 ? from + aside + length : from + aside, top: line + down - 10, bottom: line + down + 2,
      })));
      const inside = places.filter((one) => one.left > 48 && one.right < width - 4 && one.top > 14);
      const free = inside.find((one) => taken.every((other) => one.right < other.left || one.left > other.right || one.bottom < other.top || one.top > other.bottom));
      const place = free ?? inside[0] ?? places[0];
      taken.push(place);
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("x", from + place.aside);
      text.setAttribute("y", place.base);
      text.setAttribute("text-anchor", place.aside > 0 ? "start" : "end");
      text.setAttribute("class", "point-label");
      text.textContent = name(row);
      svg.append(text);
    }
  };

  const icon = (draw) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [key, value] of Object.entries({ width: 18, height: 14, viewBox: "-9 -7 18 14" })) svg.setAttribute(key, value);
    const add = (tag, attributes) => {
      const part = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
      svg.append(part);
    };
    draw(add);
    return svg;
  };
  const path = (kind, area = 70) => libraries.symbol(SYMBOLS[kind], area)();

  // What colours, shapes and fillings mean, of those that the rows have.
  const legend = (rows) => {
    const group = (title, entries) =>
      make("div", { class: "legend-group" }, make("span", { class: "legend-title" }, title), ...entries.map(([picture, text]) => make("span", { class: "legend-entry" }, picture, text)));
    const providers = [...new Set(rows.map((row) => row.provider))].sort();
    const kinds = new Set(rows.map((row) => shape(row.kind)));
    const filled = (fill, stroke, opacity = 1) => icon((add) => add("path", { d: path("circle"), fill, stroke, "stroke-width": 1.75, "stroke-opacity": opacity }));
    const ink = "var(--muted)";
    return [
      group("Provider", providers.map((provider) => [icon((add) => add("rect", { x: -6, y: -5, width: 12, height: 10, rx: 2, fill: colour(provider) })), provider.replace("ExecutionProvider", "")])),
      group("Scheme", SHAPES.filter(([, kind]) => kinds.has(kind)).map(([text, kind]) => [icon((add) => add("path", { d: path(kind), fill: ink })), text])),
      group("Standing", [
        [filled(ink, ink), "frontier"], [filled(`color-mix(in srgb, ${ink} 45%, var(--paper))`, ink), "tied"],
        [filled("none", ink), "dominated"], [filled("none", ink, 0.45), "not ranked"],
        [icon((add) => { add("rect", { x: -9, y: -6, width: 18, height: 12, fill: "var(--band)" }); add("line", { x1: -9, x2: 9, y1: 6, y2: 6, stroke: "var(--axis)", "stroke-dasharray": "3,2" }); }), "tolerated loss"],
      ]),
      rows.some((row) => row.verdict === "fragile" && !row.unranked)
        ? group("Rank", [[make("span", { class: "rank frontier" }, "1"), "frontier"], [make("span", { class: "rank frontier fragile" }, "1"), "fragile: loses more than tolerated"]])
        : null,
    ].filter(Boolean);
  };

  // Scores by stratum as dots with their intervals, the largest loss on top.
  const strata = (scores, { unit, higher, tolerance, width }) => {
    const scale = unit === "fraction" ? 100 : 1;
    const short = (text) => (text.length > 26 ? `${text.slice(0, 25)}…` : text);
    const rows = scores.map((score) => ({ ...score, name: `${short(`${score.stratum_field}=${score.stratum}`)}  n=${score.n}` }));
    const worse = higher ? -1 : 1;
    const ends = rows.flatMap((row) => [row.delta_low, row.delta_high, row.delta]).filter(known).map((end) => end * scale);
    const margin = Math.min(230, 24 + 6.4 * Math.max(...rows.map((row) => row.name.length)));
    const beyond = (row) => known(row.loss_low) && known(tolerance) && row.loss_low > tolerance;
    const svg = Plot.plot({
      width, height: 40 + 19 * rows.length, marginLeft: margin, marginRight: 12, marginTop: 24, marginBottom: 8,
      style: { background: "transparent", color: "var(--ink)", fontSize: "11px", fontFamily: "inherit" },
      x: { axis: "top", grid: true, ticks: 5, domain: [Math.min(0, ...ends, worse * (tolerance ?? 0) * scale) * 1.05, Math.max(0, ...ends, worse * (tolerance ?? 0) * scale) * 1.05], tickFormat: tick, label: null },
      y: { type: "point", domain: rows.map((row) => row.name), label: null, tickSize: 0, padding: 0.6 },
      marks: [
        known(tolerance) ? Plot.rect([tolerance], { x1: 0, x2: worse * tolerance * scale, fill: "var(--band)" }) : null,
        Plot.ruleX([0], { stroke: "var(--axis)" }),
        Plot.ruleY(rows.filter((row) => known(row.delta_low)), { y: "name", x1: (row) => row.delta_low * scale, x2: (row) => row.delta_high * scale, stroke: "var(--accent)", strokeWidth: 1.5 }),
        Plot.dot(rows.filter((row) => known(row.delta)), { y: "name", x: (row) => row.delta * scale, r: 4, stroke: "var(--accent)", fill: { value: (row) => (beyond(row) ? "var(--bad)" : "var(--accent)"), scale: null } }),
      ],
    });
    return described(svg, `Change of the score in ${rows.length} strata with intervals; the table below has the figures.`);
  };

  const histogram = ({ from, ratio: step, counts, marks, width }) => {
    const bins = counts.map((count, place) => ({ x1: from * step ** place, x2: from * step ** (place + 1), count }));
    const top = bins.at(-1).x2;
    const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find((one) => top >= one[1]) ?? ["ns", 1];
    const wide = top / from > 4;
    const inside = marks.filter(([, value]) => known(value) && value <= top);
    const svg = Plot.plot({
      width, height: 220, marginLeft: 48, marginBottom: 34, marginTop: 24, marginRight: 14,
      style: { background: "transparent", color: "var(--ink)", fontSize: "11px", fontFamily: "inherit" },
      x: { type: wide ? "log" : "linear", ticks: wide ? logTicks(from, top, Math.floor(width / 60)) : Math.max(3, Math.round(width / 90)), tickFormat: (value) => `${Number((value / size).toPrecision(4))}`, label: `latency of a query, ${unit}${wide ? " (log)" : ""} →`, labelArrow: "none" },
      y: { grid: true, ticks: 4, label: "queries", labelArrow: "none" },
      marks: [
        Plot.rectY(bins, { x1: "x1", x2: "x2", y: "count", fill: "var(--accent)", insetLeft: 0.5, insetRight: 0.5 }),
        Plot.ruleY([0], { stroke: "var(--axis)" }),
        Plot.ruleX(inside.map((mark) => mark[1]), { stroke: "var(--ink)", strokeDasharray: "3,3" }),
        Plot.text(inside, { x: (mark) => mark[1], text: (mark) => mark[0], frameAnchor: "top", textAnchor: "start", dx: 4, dy: 2, stroke: "var(--paper)", fill: "var(--ink)", fontWeight: 600 }),
      ],
    });
    return described(svg, `Histogram of latencies; ${marks.filter(([, value]) => known(value)).map(([text, value]) => `${text} ${duration(value)}`).join(", ")}.`);
  };

  lynxbench.charts = { tradeoff, legend, strata, histogram, described, tick };
})();
