// Why a candidate lost accuracy and where its time goes, as `lynxbench diagnose` found it.
"use strict";
(() => {
  const { make, section, table, scroll, known, duration, whole, change, points, NONE } = lynxbench;
  const { described, tick } = lynxbench.charts;
  const Plot = libraries;
  const MOST_DRAWN = 14;
  const LONGEST = 34;

  // The end of a node's name says more than its beginning.
  const short = (text) => (text.length > LONGEST ? `…${text.slice(1 - LONGEST)}` : text);
  const number = (value, digits) => (known(value) ? value.toFixed(digits).replace("-", "−") : NONE);
  const three = (value) => `${Number(value.toPrecision(3))}`.replace("-", "−");
  const span = (low, high) => (known(low) && known(high) ? `${three(low)} … ${three(high)}` : NONE);
  const share = (value, digits = 0) => (known(value) ? `${(100 * value).toFixed(digits)} %` : NONE);
  const style = { background: "transparent", color: "var(--ink)", fontSize: "11px", fontFamily: "inherit" };
  const margin = (names) => Math.min(240, 20 + 6.3 * Math.max(...names.map((name) => name.length)));

  const causes = (found) => {
    if (!found.causes.length) return [make("p", {}, "No cause found: nothing that was looked at is beyond its threshold.")];
    const others = (one) => (one.others.length ? make("p", { class: "about" }, `Also at ${one.others.slice(0, 3).join(", ")}${one.others.length > 3 ? ` and ${one.others.length - 3} more` : ""}.`) : null);
    const risk = known(found.loss) && found.loss <= 0 && found.causes.some((one) => !one.is_about_time);
    return [
      risk ? make("p", { class: "note" }, "On these samples it lost nothing: what is found about accuracy is a risk, no cause.") : null,
      make("ol", { class: "causes" }, ...found.causes.map((one) => make("li", {}, make("p", {}, make("strong", {}, one.cause.replaceAll("_", " ")), " at ", make("code", {}, one.where), `: ${one.said}.`), others(one), make("p", {}, make("em", {}, "Try: "), one.advice)))),
    ];
  };

  // Losses by part with their intervals: filled when quantized alone, hollow for what leaving it in float wins back.
  const partChart = (trials, unit, width) => {
    const scale = unit === "fraction" ? 100 : 1;
    const named = [...new Set(trials.map((one) => one.part.name))].slice(0, MOST_DRAWN);
    const rows = trials.filter((one) => named.includes(one.part.name)).map((one) => ({ ...one, name: short(one.part.name), alone: one.how === "alone" }));
    const names = [...new Set(rows.map((row) => row.name))];
    const ends = rows.flatMap((row) => [row.loss, row.loss_low, row.loss_high]).filter(known).map((end) => end * scale);
    const marks = [true, false].map((alone) => {
      const mine = rows.filter((row) => row.alone === alone);
      const stroke = alone ? "var(--bad)" : "var(--accent)";
      const dy = alone ? -3 : 4;
      return [
        Plot.ruleY(mine.filter((row) => known(row.loss_low)), { y: "name", x1: (row) => row.loss_low * scale, x2: (row) => row.loss_high * scale, stroke, strokeWidth: 1.5, dy }),
        Plot.dot(mine, { y: "name", x: (row) => row.loss * scale, r: 3.5, stroke, strokeWidth: 1.5, fill: alone ? stroke : "var(--paper)", dy }),
      ];
    });
    const svg = Plot.plot({
      width, height: 44 + 21 * names.length, marginLeft: margin(names), marginRight: 14, marginTop: 24, marginBottom: 8, style,
      x: { axis: "top", grid: true, ticks: 5, domain: [Math.min(0, ...ends) * 1.05, Math.max(0, ...ends) * 1.05 || 1], tickFormat: tick, label: null },
      y: { type: "point", domain: names, label: null, tickSize: 0, padding: 0.6 },
      marks: [Plot.ruleX([0], { stroke: "var(--axis)" }), ...marks.flat()],
    });
    return described(svg, `What ${names.length} parts of the model cost, with intervals; the table below has the figures.`);
  };

  const parts = (found, width) => {
    if (!known(found)) return [];
    const costly = found.trials.filter((one) => known(one.loss));
    const cells = new Map();
    for (const one of costly) {
      const key = `${one.part.kind} ${one.part.name}`;
      if (!cells.has(key)) cells.set(key, { part: one.part });
      cells.get(key)[one.how] = one;
    }
    const loss = (one) => (known(one) ? change(one.loss, one.loss_low, one.loss_high, found.unit) : NONE);
    const rows = [...cells.values()].map((one) => [one.part.name, one.part.kind === "node" ? one.part.op_type : "all of its type", whole(one.part.nodes), loss(one.alone), share(one.alone?.flip_rate, 1), loss(one["left-in-float"])]);
    const left = found.not_tried_n ? ` Not tried, as the time was over: ${whole(found.not_tried_n)} attempts, the next on ${found.not_tried[0].part.name}.` : "";
    return [
      make("h3", {}, "Where the loss comes from"),
      make("p", { class: "about" }, `${whole(found.trials.length)} attempts in ${whole(Math.round(found.spent_s))} s of ${whole(Math.round(found.time_limit_s))} s, each scored by ${found.metric} on the same ${whole(found.n)} samples, in ${points(found.unit)}. Filled: what a part costs when it alone is quantized; hollow: what leaving it in float wins back. Intervals are each part’s own, at ${Math.round(100 * found.confidence)} %, so that of many some miss zero by chance.${left}`),
      costly.length ? partChart(costly, found.unit, width) : null,
      make("details", {}, make("summary", {}, "Figures"), scroll("What parts cost", table("What parts of the model cost, in the order of the loss", ["Part", "Op type", "Nodes", "Costs alone", "Answers changed", "Wins back in float"], rows, [2, 3, 4, 5]))),
    ];
  };

  // Two bars an op type: the candidate's kernels, and fp32's.
  const timeChart = (own, before, width) => {
    const longest = (name) => Math.max(...[own, before].map((one) => one.ops.find((op) => op.op_type === name)?.ns ?? 0));
    const types = [...new Set([...own.ops, ...before.ops].map((op) => op.op_type))].sort((a, b) => longest(b) - longest(a)).slice(0, MOST_DRAWN);
    const top = Math.max(...types.map(longest));
    const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find((one) => top >= one[1]) ?? ["ns", 1];
    const bars = (one, dy, stroke) => Plot.ruleY(one.ops.filter((op) => types.includes(op.op_type)).map((op) => ({ name: short(op.op_type), ns: op.ns / size })), { y: "name", x1: 0, x2: "ns", stroke, strokeWidth: 7, dy });
    const names = types.map(short);
    const svg = Plot.plot({
      width, height: 44 + 24 * types.length, marginLeft: margin(names), marginRight: 14, marginTop: 24, marginBottom: 8, style,
      x: { axis: "top", grid: true, ticks: Math.min(6, Math.floor(width / 90)), label: null, tickFormat: (value) => `${Number(value.toPrecision(4))} ${unit}`, domain: [0, (top / size) * 1.05] },
      y: { type: "point", domain: names, label: null, tickSize: 0, padding: 0.6 },
      marks: [bars(own, -4, "var(--accent)"), bars(before, 5, "var(--axis)"), Plot.ruleX([0], { stroke: "var(--axis)" })],
    });
    return described(svg, `Time of a run by op type, candidate and fp32; the table below has the figures.`);
  };

  const times = (found, width) => {
    const [own, before] = [found.time, found.reference_time];
    if (!known(own) || !known(before)) return [make("h3", {}, "Time"), make("p", {}, `No profile: ${found.time_reason ?? "none was taken"}.`)];
    const of = (one, name) => one.ops.find((op) => op.op_type === name);
    const types = [...new Set([...own.ops, ...before.ops].map((op) => op.op_type))];
    const rows = types.map((name) => {
      const [mine, its] = [of(own, name), of(before, name)];
      return [name, whole(mine?.kernels), duration(mine?.ns), mine ? share(mine.ns / own.kernels_ns) : NONE, whole(its?.kernels), duration(its?.ns), (mine ?? its).reads[0] ?? ""];
    });
    const sum = (name, one) => `${name}: kernels add up to ${duration(one.kernels_ns)}, ${share(one.kernels_ns / one.profiled_ns)} of a profiled run of ${duration(one.profiled_ns)}; ${duration(one.run_ns)} without the profiler.`;
    return [
      make("h3", {}, "Where the time goes"),
      make("p", { class: "about" }, `By op type after fusion: the candidate’s kernels in the accent’s colour, fp32’s in grey. ${sum("Candidate", own)} ${sum("fp32", before)} Batch ${whole(own.batch_size)}, medians of ${whole(own.runs)} runs.`),
      timeChart(own, before, width),
      make("details", {}, make("summary", {}, "Figures"), scroll("Time by op type", table("Time of a run by op type after fusion", ["Op type", "Kernels", "Time", "Share", "fp32 kernels", "fp32 time", "Reads"], rows, [1, 2, 3, 4, 5]))),
    ];
  };

  const tensors = (found) => {
    const worst = (one) => (known(one.worst_outside_share) && one.worst_outside_share >= 5e-5 ? `${one.worst_field}=${one.worst_stratum} ${share(one.worst_outside_share, 2)}` : NONE);
    const rows = found.tensors.map((one) => [one.name, one.producer, number(one.sqnr_db, 1), number(one.cosine, 4), span(one.low, one.high), span(one.represented_low, one.represented_high), share(one.outside_share, 2), worst(one), number(one.distance, 2)]);
    if (!rows.length) return [];
    return [
      make("h3", {}, "Tensors"),
      make("p", { class: "about" }, "Against fp32, errors of earlier layers included, graphs computed op by op. Outside: share of values beyond what the scale can express. KS: distance of the values met on calibration and on test samples, 0 to 1."),
      make("details", {}, make("summary", {}, `The ${rows.length} furthest from fp32, of ${whole(found.tensors_n)}`), scroll("Tensors", table("Tensors, those furthest from fp32 first", ["Tensor", "By", "SQNR dB", "Cosine", "Met", "Expressed", "Outside", "Worst stratum", "KS"], rows, [2, 3, 4, 5, 6, 8]))),
    ];
  };

  const weights = (found) => {
    const rows = found.weights.map((one) => [one.name, one.node, one.shape.join("×"), known(one.scales) ? whole(one.scales) : "float", number(one.sqnr_db, 1), number(one.outlier_ratio, 1), number(one.channel_range_ratio, 1), share(one.top_share)]);
    if (!rows.length) return [];
    return [
      make("h3", {}, "Weights"),
      make("details", {}, make("summary", {}, `The ${rows.length} with the largest outlier, of ${whole(found.weights_n)}`), scroll("Weights", table("Weights, those with the largest outlier first", ["Weight", "Node", "Shape", "Scales", "SQNR dB", "Max / p99", "Widest / median channel", "Norm² in top 1 %"], rows, [3, 4, 5, 6, 7]))),
    ];
  };

  lynxbench.diagnosis = (found, width) =>
    section(
      "diagnosis", "Diagnosis",
      make("p", { class: "about" }, `${whole(found.samples)} of ${whole(found.test_set_n)} test samples and ${whole(found.calibration_samples)} calibration samples, looked at on ${found.cpu}.`),
      ...causes(found),
      ...(known(found.sensitivity) ? parts(found.sensitivity, width) : known(found.sensitivity_reason) ? [make("p", {}, `No part was tried by itself: ${found.sensitivity_reason}.`)] : []),
      ...times(found, width), ...tensors(found), ...weights(found),
    );
})();
