// One candidate: everything that its record says, found by the id behind the address's `#`.
"use strict";
(() => {
  const { make, section, table, scroll, known, duration, size, whole, signed, ratio, score, change, points, NONE, site } = lynxbench;
  const { strata, histogram } = lynxbench.charts;
  const at = (id) => document.getElementById(id);

  const facts = (entries) => make("dl", { class: "facts" }, ...entries.filter(([, value]) => known(value) && value !== "").map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
  const code = (text) => make("code", {}, text);
  const percent = (value) => (known(value) ? `${(100 * value).toFixed(1)} %` : NONE);

  const confidence = (record) => {
    try {
      return `${Math.round(100 * (JSON.parse(record.protocol).confidence ?? 0.95))} %`;
    } catch {
      return "95 %";
    }
  };

  const headline = (record, unit) => {
    const rank = (axis) => (known(record[`${axis}_rank`]) ? `rank ${record[`${axis}_rank`]}, ${record[`${axis}_class`]}` : null);
    const tile = (title, value, note) => make("div", { class: "tile" }, make("span", { class: "tile-title" }, title), make("strong", {}, value), make("span", { class: "tile-note" }, note ?? ""));
    const tiles = [
      tile("Verdict", make("span", { class: `verdict ${record.verdict ?? record.status}` }, record.verdict ?? record.status), record.is_reference ? "what others are compared with" : `tolerance ${change(known(record.tolerance_loss) ? record.tolerance_loss : null, null, null, unit).replace("+", "")} ${points(unit)}`),
      tile(record.primary_metric ?? "score", score(record.primary_value, unit), record.is_reference || !known(record.primary_delta) ? `n = ${whole(record.primary_n)}` : `Δ ${change(record.primary_delta, record.primary_delta_low, record.primary_delta_high, unit)} ${points(unit)}`),
      tile("Speed", record.is_reference ? "1×" : ratio(record.scenario_kind === "server" ? record.p50_ratio : record.throughput_ratio, record.scenario_kind === "server" ? record.p50_ratio_low : record.throughput_ratio_low, record.scenario_kind === "server" ? record.p50_ratio_high : record.throughput_ratio_high), "× the reference"),
      tile("p50 latency", duration(record.p50_ns), known(record.p50_low_ns) && known(record.p50_high_ns) ? `${duration(record.p50_low_ns)} to ${duration(record.p50_high_ns)}` : ""),
      tile("p99 latency", duration(record.p99_ns), !known(record.p99_ns) ? "too few queries to say" : known(record.p99_low_ns) && known(record.p99_high_ns) ? `${duration(record.p99_low_ns)} to ${duration(record.p99_high_ns)}` : ""),
      tile("Standing", rank("latency") ?? rank("speed") ?? "not ranked", record.unranked ?? (rank("speed") && rank("latency") ? `by throughput: ${rank("speed")}` : "")),
    ];
    return make("div", { class: "tiles" }, ...tiles);
  };

  const strataSection = (record, unit, width) => {
    const all = record.strata_scores ?? [];
    if (!all.length) return section("strata", "Strata", make("p", {}, "None declared."));
    const drawn = all.filter((one) => known(one.delta)).sort((a, b) => (b.loss ?? 0) - (a.loss ?? 0));
    const missing = all.filter((one) => !known(one.value));
    const parts = [];
    if (drawn.length && !record.is_reference)
      parts.push(
        make("p", { class: "about" }, `The score in each slice of the test set less the reference’s on the same samples, in ${points(unit)}, largest loss first, with ${confidence(record)} intervals. Shaded: the tolerated loss; red: a whole interval beyond it.`),
        strata(drawn, { unit, higher: record.primary_direction !== "lower-is-better", tolerance: record.tolerance_loss, width }),
      );
    if (missing.length) parts.push(make("p", { class: "note" }, `Not scored: ${missing.map((one) => `${one.stratum_field}=${one.stratum} (n = ${whole(one.n)}; ${one.reason})`).join("; ")}.`));
    const rows = (drawn.length ? drawn : all).concat(drawn.length ? all.filter((one) => !known(one.delta) && known(one.value)) : []);
    parts.push(
      make("details", {}, make("summary", {}, "Figures"), scroll("Scores by stratum", table("Scores by stratum", ["Stratum", "n", record.primary_metric, `Δ ${points(unit)}`, "p (Holm)", "Interval by"], rows.map((one) => [`${one.stratum_field}=${one.stratum}`, whole(one.n), score(one.value, unit), record.is_reference ? NONE : change(one.delta, one.delta_low, one.delta_high, unit), known(one.p_value_holm) ? one.p_value_holm.toPrecision(2) : NONE, one.interval_method ?? NONE]), [1, 2, 3, 4]))),
    );
    return section("strata", "Strata", ...parts);
  };

  const latencySection = (record, width) => {
    const parts = [];
    if (known(record.histogram_step_ratio)) {
      parts.push(
        histogram({ from: record.histogram_from_ns, ratio: record.histogram_step_ratio, counts: record.histogram_counts, marks: [["p50", record.p50_ns], ["p99", record.p99_ns]], width }),
        make("p", { class: "about" }, `${whole(record.latency_n)} timed queries in ${whole(record.rounds)} interleaved rounds${record.histogram_beyond_n ? `; ${whole(record.histogram_beyond_n)} took longer than the picture is wide, the longest ${duration(record.latency_max_ns)}` : ""}.`),
      );
    } else parts.push(make("p", {}, "No raw latencies came with this record."));
    const percentiles = ["p50", "p90", "p95", "p99", "p99_9"].map((name) => [name.replace("_", "."), duration(record[`${name}_ns`]), known(record[`${name}_low_ns`]) && known(record[`${name}_high_ns`]) ? `${duration(record[`${name}_low_ns`])} to ${duration(record[`${name}_high_ns`])}` : NONE]);
    parts.push(table("Percentiles of the latency; – where n cannot support them", ["Percentile", "Latency", "Interval"], percentiles, [1, 2]));
    return section("latency", "Latency", ...parts);
  };

  const placementSection = (record) => {
    const nodes = [...(record.nodes ?? [])].sort((a, b) => b.count - a.count);
    const providers = [...new Set(nodes.map((node) => node.provider))];
    const total = nodes.reduce((sum, node) => sum + node.count, 0);
    if (!nodes.length) return section("placement", "Placement", make("p", {}, "Where the nodes ran is not known."));
    const share = providers.map((provider) => { const mine = nodes.filter((node) => node.provider === provider).reduce((sum, node) => sum + node.count, 0); return `${whole(mine)} of ${whole(total)} nodes on ${provider}`; });
    const types = [...new Set(nodes.map((node) => node.op_type))];
    const count = (type, provider) => nodes.find((node) => node.op_type === type && node.provider === provider)?.count ?? 0;
    return section("placement", "Placement", make("p", { class: "about" }, `${share.join("; ")}.`), scroll("Nodes by provider and op type", table("Nodes by op type and provider", ["Op type", ...providers.map((provider) => provider.replace("ExecutionProvider", ""))], types.map((type) => [type, ...providers.map((provider) => whole(count(type, provider)))]), providers.map((_, place) => place + 1))));
  };

  const disclosureSection = (record) =>
    section(
      "disclosure", "Disclosure",
      make("p", { class: "about" }, record.decision_grade === true ? `Decision-grade: ${record.decision_grade_why}.` : record.is_reference ? "The reference: there is no loss to claim." : `Not decision-grade: ${record.decision_grade_why ?? "nothing was measured"}.`),
      make("ul", { class: "checklist" }, ...(record.disclosure ?? []).map((one) => make("li", { class: one.held ? "held" : "missing" }, make("span", { class: "mark", "aria-hidden": "true" }, one.held ? "✓" : "✗"), make("span", {}, make("strong", {}, one.item), ` ${one.held ? "disclosed" : "missing"}: ${one.why}`)))),
    );

  const warningsSection = (record) =>
    section("warnings", "Warnings", record.warnings?.length ? make("ul", { class: "warnings" }, ...record.warnings.map((one) => make("li", {}, make("strong", {}, one.code), ` ${one.advice}`))) : make("p", {}, "None."));

  const reproduceSection = (record) => {
    const copied = make("span", { role: "status", class: "copied" });
    const copy = make("button", { type: "button", onclick: async () => {
      try { await navigator.clipboard.writeText(record.command); copied.textContent = "Copied."; } catch { copied.textContent = "This browser does not copy here: select it."; }
    } }, "Copy");
    return section(
      "reproduce", "Measure it again",
      make("pre", { tabindex: "0", role: "region", "aria-label": "Command" }, code(record.command)),
      make("p", {}, copy, " ", copied),
      make("p", { class: "about" }, `The same suite has digest ${record.suite_digest.slice(0, 12)} (as it was run, changes by --set included). The reference comes along.`),
    );
  };

  const digest = (text) => (known(text) ? code(text) : null);
  const hostSection = (record) => section("host", "Host", facts([
    ["CPU", record.cpu], ["Instruction sets", (record.isa_flags ?? []).join(", ") || "none that matter to quantized kernels"], ["Cores usable", `${record.cores_usable} of ${record.cores_logical}`], ["Memory", size(record.memory_bytes)],
    ["Memory limit", known(record.memory_limit_bytes) ? size(record.memory_limit_bytes) : null], ["Governor", record.governor], ["Load when it began", known(record.load_1min) ? record.load_1min.toFixed(2) : null], ["Device", record.device],
    ["Operating system", record.os], ["Kernel", record.kernel], ["Python", record.python], ["Host id", code(record.host_id)],
  ]));
  const versionsSection = (record) => section("versions", "Versions and digests", facts([
    ["LynxBench", record.lynxbench_version], ["ONNX Runtime", record.onnxruntime_version], ["Wheel", record.wheel], ["Suite", `${record.suite} ${record.suite_version}`], ["Rubric", `${record.rubric} ${record.rubric_version}`], ["Model", `${record.model} ${record.model_version}`],
    ["Measured", record.started_at.replace("T", " ").replace("Z", " UTC")], ["Model SHA-256", digest(record.model_sha256)], ["Artifact SHA-256", digest(record.artifact_sha256)], ["Test set", digest(record.test_set_digest)], ["Calibration", digest(record.calibration_digest)], ["Rubric digest", digest(record.rubric_digest)], ["Executor digest", digest(record.executor_digest)], ["Cell", digest(record.cell_id)],
  ]));
  const schemeSection = (record) => section("scheme", "Scheme and executor", facts([
    ["Scheme", `${record.scheme} (${record.scheme_kind})`], ["Options", code(record.scheme_options)], ["File that ran", known(record.artifact_bytes) ? size(record.artifact_bytes) : null],
    ["Calibration", known(record.calibration) ? `${whole(record.calibration_n)} samples of ${record.calibration} (${record.calibration_split}, ${record.calibration_selection}, seed ${record.calibration_seed}); ${whole(record.calibration_overlap_n)} of them also scored` : "none"],
    ["Executor", `${record.executor}, ${record.provider}${record.simulated ? " (simulated)" : ""}`], ["Provider options", known(record.provider_options) ? code(record.provider_options) : null], ["Threads", whole(record.threads)], ["Batch size", whole(record.batch_size)], ["Scenario", `${record.scenario}, ${record.load}`],
    ["Answers that differ from the reference’s", known(record.flip_rate) && !record.is_reference ? percent(record.flip_rate) : null], ["Peak memory", known(record.peak_rss_bytes) ? size(record.peak_rss_bytes) : null], ["Energy a query", known(record.energy_joules) ? `${record.energy_joules.toPrecision(3)} J` : record.energy_reason],
    ["Samples that would decide", known(record.required_n) ? `about ${whole(record.required_n)}` : null],
  ]));

  const everything = (record, sections) => {
    const text = (value) => (!known(value) ? NONE : typeof value === "object" ? JSON.stringify(value) : String(value));
    const rows = sections.flatMap((one) => one.fields.map(([name, unit, meaning]) => [code(name), text(record[name]), unit, meaning]));
    return section("all", "Every field", make("details", {}, make("summary", {}, `${rows.length} fields, as in the Parquet file`), scroll("Every field of the record", table("Every field", ["Field", "Value", "Unit", "Meaning"], rows))));
  };

  const fail = (text) => {
    at("name").textContent = "No such candidate";
    at("candidate").replaceChildren(make("p", {}, text));
  };

  const show = async () => {
    const id = location.hash.slice(1);
    if (!/^[0-9a-f]{16}$/.test(id)) return fail("The address names no candidate. Choose one in the results.");
    let record, sections, diagnosis;
    try {
      const rows = await lynxbench.load(`c-${parseInt(id.slice(0, 8), 16) % site.chunks}`);
      record = rows.find((row) => row.id === id);
      sections = await lynxbench.load("fields");
      diagnosis = site.diagnosed.includes(id) ? await lynxbench.load(`d-${id}`) : null;
    } catch (error) {
      return fail(`${error.message}: this folder is not whole.`);
    }
    if (!record) return fail("It is not among the records of this site.");
    const unit = (record.scores ?? []).find((one) => one.role === "primary")?.unit ?? "fraction";
    at("name").textContent = `${record.model} · ${record.scheme_label}`;
    document.title = `${record.model} · ${record.scheme_label} · ${site.title}`;
    const width = Math.min(1040, at("candidate").clientWidth - (window.innerWidth < 600 ? 26 : 42));
    const half = window.innerWidth < 900 ? width : Math.floor((at("candidate").clientWidth - 20) / 2) - 42;
    const badges = make("p", { class: "badges" }, ...[`${record.executor} on ${record.host_label}`, `${record.scenario}, ${record.load}`, `${record.rubric} ${record.rubric_version}`, `trust: ${record.trust} (${record.trust_why})`].map((text) => make("span", { class: "badge" }, text)));
    const reason = record.reason ? make("p", { class: "note" }, `${record.status}: ${record.reason}`) : null;
    at("candidate").replaceChildren(
      ...[
        badges, reason, headline(record, unit),
        strataSection(record, unit, width),
        make("div", { class: "pair" }, make("div", {}, latencySection(record, half), schemeSection(record)), make("div", {}, disclosureSection(record), warningsSection(record), hostSection(record))),
        diagnosis ? lynxbench.diagnosis(diagnosis, width) : null,
        placementSection(record),
        versionsSection(record), reproduceSection(record), everything(record, sections),
      ].filter(Boolean),
    );
  };

  try {
    const kept = sessionStorage.getItem("lynxbench-overview");
    if (kept) at("back").href = `index.html#${kept}`;
  } catch {
    // Back to the start, then.
  }
  show();
  window.addEventListener("hashchange", show);
})();
