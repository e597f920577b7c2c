// The overview: one workload's trade-offs and rows. What is chosen stands in the address, and only what differs from
// where one starts, so that a link stays short.
"use strict";
(() => {
  const { make, known, duration, ratio, change, score, points, whole, NONE, site } = lynxbench;
  const { tradeoff, legend } = lynxbench.charts;
  const { sorted, draw } = lynxbench.table;
  const at = (id) => document.getElementById(id);

  const PAGE_ROWS = window.innerWidth < 700 ? 20 : 50;
  const FIRST_CHARTS = 6;
  const MOST_CHARTS = 24;
  const FILTERS = {
    model: "Model", scheme: "Scheme", executor: "Executor", host: "Host", verdict: "Verdict", grade: "Decision-grade", trust: "Trust",
  };
  // Short names in the address.
  const KEYS = { workload: "w", scenario: "s", axis: "x", model: "m", scheme: "q", executor: "e", host: "h", verdict: "v", grade: "g", trust: "t", sort: "o", page: "p" };

  let state = {};
  let rows = [];
  let complete = false;
  let generation = 0;
  let charts = FIRST_CHARTS;

  // Where one starts: the workload with the most rows.
  const first = site.workloads.reduce((best, one) => (one.rows > best.rows ? one : best));
  const workload = () => site.workloads.find((one) => one.slug === state.workload) ?? first;
  const scenario = () => workload().scenarios.find((one) => one.name === state.scenario) ?? workload().scenarios[0];
  const axis = () => (["latency", "speed"].includes(state.axis) ? state.axis : scenario().axis);

  const fromAddress = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(Object.entries(KEYS).flatMap(([name, key]) => (given.has(key) ? [[name, given.get(key)]] : [])));
  };
  const toAddress = () => {
    const kept = new URLSearchParams();
    for (const [name, key] of Object.entries(KEYS)) if (state[name]) kept.set(key, state[name]);
    return kept.toString();
  };
  const remember = () => {
    const text = toAddress();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    try {
      sessionStorage.setItem("lynxbench-overview", text);
    } catch {
      // The way back from a candidate is the start then.
    }
  };

  const matches = (row, without) => Object.keys(FILTERS).every((name) => name === without || !state[name] || (row[name] ?? row.status) === state[name]);
  const inScenario = () => rows.filter((row) => row.scenario === scenario().name);
  const chosen = () => inScenario().filter((row) => matches(row));

  const unit = () => workload().unit;
  const verdict = (row) => row.verdict ?? row.status;
  const COLUMNS = [
    { key: "rank", label: "Rank", number: true, title: "rank within the contest: same model, scenario and host", sort: (row) => row[`${axis()}_rank`], cell: (row) => rankCell(row) },
    { key: "model", label: "Model", text: (row) => row.model },
    { key: "scheme", label: "Scheme", cell: (row) => make("a", { href: `candidate.html#${row.id}` }, row.scheme) },
    { key: "executor", label: "Executor", text: (row) => row.executor },
    { key: "host", label: "Host", text: (row) => row.host },
    { key: "p50", label: "p50", number: true, title: "median latency of a query", text: (row) => duration(row.p50) },
    { key: "p99", label: "p99", number: true, title: "99th percentile; – where too few queries support it", text: (row) => duration(row.p99) },
    { key: "speed", label: "Speed", number: true, title: "throughput over the reference's, with the wider half of its interval", cell: (row) => parts(row.reference && known(row.speed) ? "1×" : ratio(row.speed, row.speed_low, row.speed_high)) },
    { key: "delta", label: "Δ", number: true, title: "score less the reference's, paired by sample, with its interval; for the reference its score", cell: (row) => (row.reference ? make("span", { class: "own" }, `${workload().metric} `, make("span", { class: "part" }, score(row.value, unit()))) : parts(change(row.delta, row.delta_low, row.delta_high, unit()))) },
    { key: "worst", label: "Worst stratum", title: "the slice that loses most", sort: (row) => (row.worst_loss > 0 ? -row.worst_loss : null), text: (row) => worst(row) },
    { key: "verdict", label: "Verdict", sort: verdict, cell: (row) => make("span", { class: `verdict ${verdict(row)}` }, verdict(row)) },
    { key: "grade", label: "Grade", title: "decision-grade: six items disclosed, interval narrow enough", text: (row) => (row.grade === "reference" ? NONE : row.grade) },
    { key: "trust", label: "Trust", text: (row) => row.trust },
  ];
  // An estimate and its interval, which goes to the next line as a whole where there is no room.
  const parts = (text) => {
    const [, value, interval] = /^(\S+)(?: (.+))?$/.exec(text);
    return make("span", {}, make("span", { class: "part" }, value), interval ? " " : "", interval ? make("span", { class: "part" }, interval) : null);
  };
  const rankCell = (row) => {
    const rank = row[`${axis()}_rank`];
    if (!known(rank)) return make("span", { class: "none", title: row.unranked ?? "no figure on this axis" }, NONE);
    const standing = row[`${axis()}_class`];
    // A rank says nothing of whether the loss is bearable: it must not look like advice where it is not.
    const fragile = row.verdict === "fragile";
    return make("span", { class: `rank ${standing}${fragile ? " fragile" : ""}`, title: fragile ? `${standing}, but fragile: loses more than tolerated` : standing }, String(rank));
  };
  const worst = (row) => {
    if (row.reference || !known(row.worst_loss) || row.worst_loss <= 0) return NONE;
    return `${row.worst} ${change(workload().higher_is_better ? -row.worst_loss : row.worst_loss, null, null, unit())}`;
  };

  const sort = () => {
    const text = state.sort ?? "";
    return { key: text.replace("-", ""), descending: text.startsWith("-") };
  };

  const drawControls = () => {
    const fill = (select, entries, value, onChange) => {
      select.replaceChildren(...entries.map(([key, text]) => make("option", { value: key, selected: key === value }, text)));
      select.value = value;
      select.onchange = () => onChange(select.value);
    };
    const names = site.workloads.map((one) => `${one.rubric} ${one.version}`);
    fill(
      at("workload"),
      site.workloads.map((one, place) => [one.slug, names.indexOf(names[place]) === names.lastIndexOf(names[place]) ? names[place] : `${names[place]} (${whole(one.n)} samples, ${one.slug.slice(-6)})`]),
      workload().slug,
      (slug) => {
        state = { workload: slug === first.slug ? undefined : slug };
        start();
      },
    );
    fill(at("scenario"), workload().scenarios.map((one) => [one.name, one.name]), scenario().name, (name) => {
      state = { ...state, scenario: name === workload().scenarios[0].name ? undefined : name, axis: undefined, page: undefined };
      show();
    });
    for (const radio of document.querySelectorAll("input[name=axis]")) {
      radio.checked = radio.value === axis();
      radio.onchange = () => {
        state = { ...state, axis: radio.value === scenario().axis ? undefined : radio.value, page: undefined };
        show();
      };
    }
  };

  const drawFilters = () => {
    const focused = document.activeElement?.dataset?.filter;
    const mine = inScenario();
    const selects = Object.entries(FILTERS).map(([name, title]) => {
      const counts = new Map();
      for (const row of mine) if (matches(row, name)) counts.set(row[name] ?? row.status, (counts.get(row[name] ?? row.status) ?? 0) + 1);
      if (state[name] && !counts.has(state[name])) counts.set(state[name], 0);
      const options = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
      const select = make(
        "select",
        { "data-filter": name, onchange: () => change_filter(name, select.value) },
        make("option", { value: "" }, "any"),
        ...options.map(([value, count]) => make("option", { value }, `${value} (${whole(count)})`)),
      );
      select.value = state[name] ?? "";
      return make("label", { class: state[name] ? "active" : null }, `${title} `, select);
    });
    const any = Object.keys(FILTERS).some((name) => state[name]);
    // A choice of one is none.
    const useful = selects.filter((label, place) => label.querySelectorAll("option").length > 2 || state[Object.keys(FILTERS)[place]]);
    at("filters").replaceChildren(...useful, make("button", { type: "button", class: "quiet", disabled: !any, onclick: clear }, "Clear filters"));
    if (focused) at("filters").querySelector(`[data-filter=${focused}]`)?.focus();
  };
  const change_filter = (name, value) => {
    state = { ...state, [name]: value || undefined, page: undefined };
    show();
  };
  const clear = () => {
    state = { ...state, ...Object.fromEntries(Object.keys(FILTERS).map((name) => [name, undefined])), page: undefined };
    show();
    (at("filters").querySelector("select") ?? at("scenario")).focus();
  };

  const drawCharts = (mine) => {
    const contests = new Map();
    for (const row of mine) contests.set(row.contest, [...(contests.get(row.contest) ?? []), row]);
    const hosts = new Set(mine.map((row) => row.host)).size;
    const shown = [...contests.values()].slice(0, charts);
    const columns = window.innerWidth < 700 ? 1 : Math.min(shown.length, window.innerWidth < 1060 ? 2 : 3);
    at("charts").style.setProperty("--columns", columns);
    const space = at("charts").clientWidth;
    if (!space) return; // not laid out yet: the observer below comes back
    const width = Math.floor((space - 20 * (columns - 1)) / columns) - 26;
    const models = new Map();
    for (const members of shown) models.set(members[0].model, (models.get(members[0].model) ?? 0) + 1);
    at("charts").replaceChildren(
      ...shown.map((members) => {
        const heading = hosts > 1 || models.get(members[0].model) > 1 ? `${members[0].model} on ${members[0].host}` : members[0].model;
        return make(
          "figure",
          {},
          make("figcaption", {}, heading),
          tradeoff(members, { axis: axis(), workload: workload(), heading, width: Math.min(width, columns === 1 ? 1200 : 620), yFrom: members, onPick: (row) => (location.href = `candidate.html#${row.id}`) }),
        );
      }),
    );
    const left = contests.size - shown.length;
    const more = left && charts < MOST_CHARTS ? make("button", { type: "button", onclick: () => { charts = MOST_CHARTS; show(); } }, `Show ${Math.min(left, MOST_CHARTS - charts)} more`) : null;
    at("charts-more").replaceChildren(...(left ? [`${shown.length} of ${whole(contests.size)} contests drawn; filter by model or host to see others. `, more].filter(Boolean) : []));
    at("legend").replaceChildren(...legend(shown.flat()));
  };

  // Why some rows have no rank, where there are such: a robust row without one beside a fragile row with one puzzles.
  const unranked = (mine) => {
    const reasons = new Map();
    for (const row of mine) if (row.unranked) reasons.set(row.unranked, (reasons.get(row.unranked) ?? 0) + 1);
    if (!reasons.size) return [];
    const said = [...reasons].sort(([, a], [, b]) => b - a).map(([reason, count]) => (reasons.size > 1 ? `${reason} (${whole(count)})` : reason));
    const none = [...reasons.values()].reduce((sum, count) => sum + count);
    return [
      `${whole(none)} of them ${none === 1 ? "is" : "are"} shown without a rank: ${said.join("; ")}. A rank says that a row’s loss is known narrowly enough to be compared, not that it is small; that is the verdict. So a fragile row can have a rank, and a robust one whose interval is too wide for a claim has none. `,
      make("a", { href: "method.html#ranked" }, "What is ranked"), ".",
    ];
  };

  const drawTable = (mine) => {
    const focused = document.activeElement?.dataset?.key;
    const order = sort();
    const column = COLUMNS.find((one) => one.key === order.key);
    const all = sorted(mine, column, order.descending);
    at("unranked").replaceChildren(...unranked(mine));
    const last = Math.max(0, Math.ceil(all.length / PAGE_ROWS) - 1);
    const page = Math.min(last, Math.max(0, Number(state.page ?? 1) - 1 || 0));
    const from = page * PAGE_ROWS;
    const part = all.slice(from, from + PAGE_ROWS);
    const loading = complete ? "" : `; ${whole(rows.length)} of ${whole(workload().rows)} rows loaded so far`;
    at("count").textContent = all.length ? `Rows ${whole(from + 1)} to ${whole(from + part.length)} of ${whole(all.length)}${loading}.` : `No row matches the filters${loading}.`;
    // Where all rows share a model, an executor or a host, it stands above them.
    const shared = Object.fromEntries(["model", "executor", "host"].map((name) => [name, new Set(inScenario().map((row) => row[name])).size === 1 ? mine[0]?.[name] : null]));
    const columns = COLUMNS.filter((one) => !shared[one.key]).map((one) => (one.key === "delta" ? { ...one, label: `Δ ${points(unit())}` } : one));
    at("rows").replaceChildren(
      draw(columns, part, {
        caption: `${workload().rubric} ${workload().version}, ${scenario().name}${shared.model ? `, ${shared.model}` : ""}${shared.executor ? `, by ${shared.executor}` : ""}${shared.host ? `, on ${shared.host}` : ""}`,
        sort: order,
        onSort: (key) => {
          const next = order.key !== key ? key : order.descending ? undefined : `-${key}`;
          state = { ...state, sort: next, page: undefined };
          show();
        },
      }),
    );
    const turn = (text, to) => make("button", { type: "button", "data-key": text, disabled: to < 0 || to > last, onclick: () => { state = { ...state, page: to ? String(to + 1) : undefined }; show(); } }, text);
    at("pager").hidden = last === 0;
    at("pager").replaceChildren(turn("First", page ? 0 : -1), turn("Previous", page - 1), make("span", {}, `Page ${whole(page + 1)} of ${whole(last + 1)}`), turn("Next", page + 1), turn("Last", page < last ? last : -1));
    if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };

  const show = () => {
    const mine = chosen();
    const about = workload();
    at("workload-heading").textContent = about.title || about.rubric;
    at("workload-about").textContent = `${about.rubric} ${about.version} · ${about.task} · ${whole(about.n)} samples of ${about.test_set} · ${about.metric} · tolerance ${about.tolerance} · digest ${about.digest.slice(0, 12)}`;
    drawControls();
    drawFilters();
    drawCharts(mine);
    drawTable(mine);
    remember();
  };

  // The first chunk is drawn at once; the others follow while the page can already be read.
  const start = async () => {
    const mine = ++generation;
    rows = [];
    complete = false;
    charts = FIRST_CHARTS;
    const { chunks } = workload();
    for (const [place, name] of chunks.entries()) {
      let more;
      try {
        more = await lynxbench.load(name);
      } catch (error) {
        at("count").textContent = `${error.message}: this folder is not whole.`;
        return;
      }
      if (mine !== generation) return;
      rows = rows.concat(more);
      complete = place === chunks.length - 1;
      if (place === 0 || complete) show();
      if (place === 0) {
        performance.mark("lynxbench-first-draw");
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      }
    }
    if (mine === 1) summary();
  };

  const SUMMARY = [
    { key: "scheme", label: "Scheme", text: (row) => row.scheme },
    { key: "executor", label: "Executor", text: (row) => row.executor },
    { key: "value", label: "Speed", number: true, title: "geometric mean of throughput ratios", text: (row) => ratio(row.value, row.low, row.high) },
    { key: "covered", label: "Covers", number: true, title: "contests with a ranked row, of all of the host and scenario", sort: (row) => row.covered / row.of, text: (row) => `${row.covered} of ${row.of}` },
    { key: "robust", label: "Robust", number: true, text: (row) => whole(row.robust) },
    { key: "fragile", label: "Fragile", number: true, text: (row) => whole(row.fragile) },
  ];
  const summary = async () => {
    const all = await lynxbench.load("summary");
    if (!all.length) return;
    at("summary-section").hidden = false;
    const chosen = { scenario: all[0].scenario, host: all[0].host };
    const order = { key: "", descending: false };
    // Single-stream first, where there is one.
    chosen.scenario = all.map((row) => row.scenario).find((name) => name.startsWith("single-stream")) ?? chosen.scenario;
    const refresh = () => {
      const selects = ["scenario", "host"].map((name) => {
        const values = [...new Set(all.map((row) => row[name]))].sort();
        const select = make("select", { "data-summary": name, onchange: () => { chosen[name] = select.value; refresh(); at("summary-filters").querySelector(`[data-summary=${name}]`).focus(); } }, ...values.map((value) => make("option", { value }, value)));
        select.value = chosen[name];
        return make("label", {}, `${name === "host" ? "Host" : "Scenario"} `, select);
      });
      at("summary-filters").replaceChildren(...selects);
      const mine = all.filter((row) => row.scenario === chosen.scenario && row.host === chosen.host);
      const focused = document.activeElement?.dataset?.key;
      at("summary").replaceChildren(
        draw(SUMMARY, sorted(mine, SUMMARY.find((one) => one.key === order.key), order.descending), {
          caption: `Means in ${chosen.scenario} on ${chosen.host}`,
          sort: order,
          onSort: (key) => {
            [order.key, order.descending] = order.key !== key ? [key, false] : order.descending ? ["", false] : [key, true];
            refresh();
          },
        }),
      );
      if (focused) at("summary").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    };
    refresh();
  };

  state = fromAddress();
  start();
  window.addEventListener("hashchange", () => {
    const before = workload();
    state = fromAddress();
    if (workload() === before) show();
    else start();
  });
  let width = 0;
  new ResizeObserver(() => {
    const now = at("charts").clientWidth;
    if (now !== width && rows.length) drawCharts(chosen());
    width = now;
  }).observe(at("charts"));
})();
