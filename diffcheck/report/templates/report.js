"use strict";
// Shows the clusters and cases of the embedded data. Every string becomes text by textContent; nothing here parses markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const columns = JSON.parse(byId("columns").textContent);
  const CHUNK = 100;
  const RANK = { diverge: 0, flaky: 1, inconclusive: 2, known: 3, skipped: 4, agree: 5 };

  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    for (const child of children) if (child !== null && child !== undefined && child !== "") node.append(child);
    return node;
  };
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const time = (ms) => ms < 1 ? `${ms.toPrecision(2)} ms` : ms < 1000 ? `${Math.round(ms)} ms`
    : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${String(Math.floor(ms / 1000) % 60).padStart(2, "0")} s`;
  const bytes = (count) => count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(1)} kB`
    : count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(1)} GB`;

  // What the filters and the order look at, worked out once.
  const haystack = (parts) => parts.flat(9).filter(Boolean).join("\n").toLowerCase();
  const words = (one) => [one.what, one.row, one.place, one.oracle, one.subject, one.detail, one.signature];
  data.cases.forEach((one, at) => {
    one.at = at;
    one.cost = { oracle: { ms: 0, bytes: 0 }, subject: { ms: 0, bytes: 0 } };
    for (const pass of one.passes || []) for (const role of ["oracle", "subject"]) if (pass[role]) {
      one.cost[role].ms += pass[role].ms;
      one.cost[role].bytes = Math.max(one.cost[role].bytes, pass[role].bytes);
    }
  });
  // What a search looks through is made with the first search: most readers of 10,000 cases filter by verdict.
  const textOf = (one) => one.text ??= haystack([one.name, one.purpose, one.reason, one.artifact, one.sha256, one.rows || [],
      (one.passes || []).map((pass) => [pass.reason, (pass.divergences || []).map(words)])]);
  for (const cluster of data.clusters) {
    cluster.state = cluster.life && cluster.life.state || "";
    for (const member of cluster.members) (data.cases[member.case].states ||= new Set()).add(cluster.state);
    cluster.text = haystack([cluster.signature, words(cluster.first), cluster.life ? [cluster.life.state, cluster.life.issue, cluster.life.note] : []]);
  }
  // What is new before what is known; within that the order is the report's.
  const NEWS = ["new", "returned", "", "wider", "expired", "flaky", "known"];
  data.clusters.sort((a, b) => NEWS.indexOf(a.state) - NEWS.indexOf(b.state));
  const largest = (key) => data.cases.reduce((most, one) => Math.max(most, one.cost.oracle[key], one.cost.subject[key]), 0);
  const most = { ms: largest("ms"), bytes: largest("bytes") };
  const length = (key, value) => most[key] ? Math.log1p(value / (most[key] / 1e3)) / Math.log1p(1e3) : 0;

  // Small parts.
  const verdictWord = (word) => el("span", `verdict v-${word}`, el("span", "dot"), word);
  const tag = (text, className = "") => el("span", `tag ${className}`, text);
  const facts = (pairs) => {
    const list = el("dl", "facts");
    for (const [name, value] of pairs) if (value) list.append(el("dt", "", name), el("dd", "", value));
    return list;
  };
  const marked = (text, other) => {
    // What two values have in common at both ends is left plain, where that is most of them.
    let start = 0;
    while (start < text.length && start < other.length && text[start] === other[start]) start++;
    let end = 0;
    while (end < text.length - start && end < other.length - start && text[text.length - 1 - end] === other[other.length - 1 - end]) end++;
    const middle = text.slice(start, text.length - end);
    const whole = !middle || (start + end) * 2 < Math.max(text.length, other.length);
    return whole ? [text || "(nothing)"] : [text.slice(0, start), el("mark", "", middle), text.slice(text.length - end)];
  };
  const pair = (one) => el("div", "pair", ...["oracle", "subject"].map((role) =>
    el("div", `value ${role}`, el("span", "who", columns[role]),
      el("span", "what", ...marked(one[role], one[role === "oracle" ? "subject" : "oracle"])))));
  const gauge = (one, key, unit) => {
    const box = el("span", "gauge");
    for (const role of ["oracle", "subject"]) {
      const bar = el("i", role);
      // What is beside the bar has a width of its own, so that the longest bar ends before it and all others are shorter in proportion.
      bar.style.width = `calc((100% - 4.2rem) * ${Math.max(0.01, length(key, one.cost[role][key])).toFixed(3)})`;
      const value = one.cost[role][key] ? unit(one.cost[role][key]) : "-";
      const label = el("span", "", bar, value);
      label.title = `${columns[role]}: ${value}`;
      box.append(label);
    }
    return box;
  };
  const placeOf = (one) => [one.row ? `row ${one.row}` : "", ...(one.place || [])].filter(Boolean).join(" · ");

  // A case: one line, and all of it when it is opened.
  const caseRow = (one, within = false) => {
    const passes = el("span", "passes", ...(one.passes || []).map((pass) => el("span", "", `${pass.mode}: ${pass.verdict || "not applicable"}`)));
    const name = el("span", "name", one.name, " ",
      one.verdict !== one.expected ? tag(`${one.expected} expected`, "v-inconclusive") : one.verdict === "agree" || within ? "" : tag("expected"),
      ...(one.marks || []).filter((mark) => mark === "vacuous").map((mark) => tag(mark)));
    if (one.reason || one.purpose) name.append(el("span", "why", one.reason || one.purpose));
    const summary = el("summary", "", verdictWord(one.verdict), name, passes,
      el("span", "bars", gauge(one, "ms", time), gauge(one, "bytes", bytes)));
    const details = el("details", "case", summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(caseDetail(one));
    });
    return el("li", "", details);
  };
  const listOf = (title, lines) => el("div", "", el("strong", "small", title), el("ul", "plain small", ...lines.map((line) => el("li", "", line))));
  const fold = (title, text) => {
    const pre = el("pre", "", text);
    pre.tabIndex = 0;
    return el("details", "small", el("summary", "", title), pre);
  };
  const caseDetail = (one) => {
    const rows = one.rows || [];
    const rest = (one.rows_total || 0) - rows.length;
    const box = el("div", "detail",
      facts([
        ["purpose", one.purpose],
        ["reason", one.reason],
        ["artifact", one.artifact],
        ["sha256", one.sha256 && el("code", "", one.sha256)],
        ["plan", one.plan && el("code", "", one.plan)],
        ["rows", rows.length ? el("code", "", rows.join(", ") + (rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "")) : ""],
        ["took", one.ms ? time(one.ms) : ""],
        ["run again", one.again && el("code", "", one.again)],
      ]), ...(one.passes || []).map(passDetail));
    if (one.not_done) box.append(listOf("not done", one.not_done));
    if (one.explanation) box.append(fold("explanation", one.explanation));
    if (one.trimmed) box.append(el("p", "quiet small", "This report is large: the rest of this case is in report.json."));
    return box;
  };
  const passDetail = (pass) => {
    const head = el("div", "pass-head", el("strong", "", `${pass.mode} pass`),
      pass.verdict ? verdictWord(pass.verdict) : el("span", "quiet", "not applicable"), pass.vacuous ? tag("vacuous") : "",
      el("span", "quiet small", pass.reason));
    const box = el("div", "pass", head);
    if (pass.oracle || pass.subject)
      box.append(el("div", "sides", ...["oracle", "subject"].filter((role) => pass[role]).map((role) => sideDetail(pass[role], role))));
    if (pass.compared) box.append(el("p", "quiet small", `compared: ${pass.compared}`));
    const found = pass.divergences || [];
    if (found.length) {
      box.append(el("strong", "small", `${plural(pass.total, "difference")}, the earliest first`));
      for (const one of found)
        box.append(el("div", "difference", el("p", "small", el("strong", "", one.what), " ", el("span", "quiet", placeOf(one))),
          pair(one), one.detail ? el("p", "quiet small", one.detail) : ""));
      if (pass.total > found.length) box.append(el("p", "quiet small", `and ${plural(pass.total - found.length, "more difference")}, in report.json`));
    }
    for (const [title, lines] of pass.lists || []) box.append(listOf(title, lines));
    for (const [title, text] of pass.printed || []) box.append(fold(title, text));
    for (const role of ["oracle", "subject"])
      if (pass[role] && pass[role].log) box.append(fold(`what ${columns[role]} printed`, pass[role].log));
    return box;
  };
  const sideDetail = (side, role) => el("div", `side ${role}`, el("span", "who", columns[role]), facts([
    ["outcome", side.words],
    ["time", `${time(side.ms)} (${time(side.cpu)} CPU)`],
    ["memory", side.bytes ? bytes(side.bytes) : "-"],
    ["executions", side.runs.toLocaleString("en")],
    ["digest", side.digest && el("code", "", side.digest)],
  ]));

  // A cluster: its first difference, what is known of it, its cases.
  const lifeOf = (life) => {
    const parts = [];
    if (life.state) parts.push(tag(life.state, `state-${life.state.replace(" ", "-")}`));
    if (life.issue) {
      const link = el(/^https?:\/\//.test(life.issue) ? "a" : "span", "small", life.issue);
      if (link.tagName === "A") { link.href = life.issue; link.rel = "noreferrer noopener"; }
      parts.push(link);
    }
    if (life.note) parts.push(el("span", "quiet small", life.note));
    if (life.strip) {
      const strip = el("span", "strip push", ...life.strip.map((word) => {
        const item = el("span", `s-${word.replace(" ", "-")}`);
        item.title = word;
        return item;
      }));
      strip.setAttribute("role", "img");
      strip.setAttribute("aria-label", `last ${plural(life.strip.length, "run")}, oldest first: ${life.strip.join(", ")}`);
      parts.push(strip);
    }
    return el("div", "card-head", ...parts);
  };
  const clusterCard = (cluster) => {
    const first = cluster.first;
    const count = plural(cluster.members.length, "case") + (cluster.count > cluster.members.length ? `, ${cluster.count.toLocaleString("en")} values` : "");
    const modes = [...new Set(cluster.members.flatMap((member) => member.modes))].join(" and ");
    const list = el("ol", "members");
    let shown = 0;
    const more = el("button", "more");
    more.type = "button";
    const add = (upTo) => {
      for (; shown < Math.min(upTo, cluster.members.length); shown++) list.append(caseRow(data.cases[cluster.members[shown].case], cluster.expected));
      more.textContent = `Show ${plural(Math.min(CHUNK, cluster.members.length - shown), "more case")} of ${cluster.members.length.toLocaleString("en")}`;
      more.hidden = shown >= cluster.members.length;
    };
    more.addEventListener("click", () => {
      const before = shown;
      add(shown + CHUNK);
      list.children[before].querySelector("summary").focus();
    });
    add(cluster.members.length <= 4 ? 4 : 3);
    return el("li", `card v-${cluster.verdict}`,
      el("div", "card-head", el("h3", "", first.what), el("span", "quiet small", placeOf(first)),
        el("span", "quiet small push", `${count}, ${modes}`), cluster.expected ? tag("expected") : "",
        el("span", "quiet signature", cluster.signature)),
      cluster.life ? lifeOf(cluster.life) : "",
      pair(first), first.detail ? el("p", "quiet small", first.detail) : "", list, more);
  };

  // A list that draws a part of its items, and twice as many with each press of the button at its end. It does not grow by
  // itself, so that what stands below it can be reached.
  const lazy = (list, first, draw, nothing) => {
    let items = [];
    let shown = 0;
    let next = first;
    const more = el("button", "more");
    more.type = "button";
    list.after(more);
    const add = (count) => {
      const part = document.createDocumentFragment();
      for (const item of items.slice(shown, shown + count)) part.append(draw(item));
      shown = Math.min(items.length, shown + count);
      list.append(part);
      more.hidden = shown >= items.length;
      more.textContent = `Show ${Math.min(next, items.length - shown).toLocaleString("en")} more of ${items.length.toLocaleString("en")}`;
    };
    more.addEventListener("click", () => {
      const before = shown;
      const count = next;
      next *= 2;
      add(count);
      list.children[before].querySelector("summary").focus();
    });
    return (given) => {
      items = given;
      shown = 0;
      next = first;
      list.replaceChildren();
      add(first);
      if (!items.length) list.append(el("li", "none", nothing));
    };
  };
  const showClusters = lazy(byId("cluster-list"), 25, clusterCard, data.clusters.length ? "No difference under these filters." : "The engines differ nowhere.");
  const showCases = lazy(byId("case-list"), CHUNK, caseRow, data.cases.length ? "No case under these filters." : "The run has no cases.");

  // Filters: the address keeps them, so that a view can be sent on.
  const chips = [...document.querySelectorAll("[data-verdict]")];
  const fields = { q: byId("q"), mode: byId("mode"), only: byId("mark"), order: byId("order"),
    ...(byId("state") ? { state: byId("state") } : {}) };
  const state = () => ({
    ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value])),
    verdicts: chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.verdict),
  });
  const verdictIn = (one, mode) => {
    if (!mode) return one.verdict;
    const pass = (one.passes || []).find((each) => each.mode === mode);
    return pass ? pass.verdict || "" : "";
  };
  const ORDERS = {
    "": (a, b) => (a.verdict === a.expected) - (b.verdict === b.expected) || RANK[a.verdict] - RANK[b.verdict] || a.at - b.at,
    name: (a, b) => a.at - b.at,
    time: (a, b) => b.cost.subject.ms - a.cost.subject.ms,
    memory: (a, b) => b.cost.subject.bytes - a.cost.subject.bytes,
    ratio: (a, b) => ratio(b) - ratio(a),
  };
  const ratio = (one) => one.cost.oracle.ms ? one.cost.subject.ms / one.cost.oracle.ms : 0;

  const apply = () => {
    const wanted = state();
    const parts = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set(wanted.verdicts);
    const passes = (one) => {
      const verdict = verdictIn(one, wanted.mode);
      return verdict && (!verdicts.size || verdicts.has(verdict)) && (!wanted.only || (one.marks || []).includes(wanted.only))
        && (!wanted.state || !!one.states && one.states.has(wanted.state));
    };
    const has = (text, more = "") => parts.every((part) => text.includes(part) || more.includes(part));
    const kept = data.cases.filter((one) => passes(one) && (!parts.length || has(textOf(one)))).sort(ORDERS[wanted.order] || ORDERS[""]);
    const clusters = data.clusters.filter((cluster) => (!wanted.state || cluster.state === wanted.state) && cluster.members.some((member) =>
      (!wanted.mode || member.modes.includes(wanted.mode)) && passes(data.cases[member.case])
        && has(cluster.text, data.cases[member.case].name.toLowerCase())));
    showClusters(clusters);
    showCases(kept);
    const filtered = parts.length || verdicts.size || wanted.mode || wanted.only || wanted.state;
    const of = (count, all) => count === all ? all.toLocaleString("en") : `${count.toLocaleString("en")} of ${all.toLocaleString("en")}`;
    document.querySelector('[data-count="cases"]').textContent = of(kept.length, data.cases.length);
    document.querySelector('[data-count="clusters"]').textContent = of(clusters.length, data.clusters_total);
    byId("count").textContent = `${of(clusters.length, data.clusters_total)} ${data.clusters_total === 1 ? "difference" : "differences"}, ${of(kept.length, data.cases.length)} ${data.cases.length === 1 ? "case" : "cases"}`
      + (data.clusters_total > data.clusters.length ? `; ${plural(data.clusters_total - data.clusters.length, "difference")} only in report.json` : "");
    byId("clear").disabled = !(filtered || wanted.order);
  };
  const remember = () => {
    const wanted = state();
    const kept = new URLSearchParams();
    for (const name of Object.keys(fields)) if (wanted[name]) kept.set(name, wanted[name]);
    if (wanted.verdicts.length) kept.set("verdict", wanted.verdicts.join(","));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
  };
  const recall = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const [name, field] of Object.entries(fields)) {
      field.value = given.get(name) || "";
      if (field.selectedIndex === -1) field.value = "";
    }
    const verdicts = (given.get("verdict") || "").split(",");
    for (const chip of chips) chip.setAttribute("aria-pressed", String(verdicts.includes(chip.dataset.verdict)));
  };
  const changed = () => { remember(); apply(); };

  let waiting = 0;
  fields.q.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(changed, 120); });
  fields.q.addEventListener("keydown", (event) => { if (event.key === "Escape") { fields.q.value = ""; changed(); } });
  for (const [name, field] of Object.entries(fields)) if (name !== "q") field.addEventListener("change", changed);
  for (const chip of chips) chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
    changed();
  });
  byId("clear").addEventListener("click", () => {
    for (const field of Object.values(fields)) field.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    changed();
    fields.q.focus();
  });
  // An anchor of the page itself, as the skip links have, is no filter.
  window.addEventListener("hashchange", () => { if (!document.getElementById(location.hash.slice(1))) { recall(); apply(); } });

  recall();
  apply();

  document.documentElement.dataset.ready = "yes";
})();
