"use strict";
// Shows the cases of the embedded data, filters causes and cases, copies commands. Every string becomes text by textContent; nothing
// here parses markup. The details of cases stand in blocks that are parsed when a case of theirs is opened or searched.
(() => {
  const byId = (id) => document.getElementById(id);
  const cases = JSON.parse(byId("index").textContent);
  const columns = JSON.parse(byId("columns").textContent);
  const CHUNK = 100;
  const BLOCK = 50;
  const RANK = { new: 0, returned: 0, wider: 1, expired: 1, flaky: 2 };
  const VERDICTS = { diverge: 0, flaky: 1, inconclusive: 2, oracle: 3, known: 4, skipped: 5, agree: 6 };
  const blocks = new Map();
  const detailOf = (at) => {
    const number = Math.floor(at / BLOCK);
    if (!blocks.has(number)) blocks.set(number, JSON.parse(byId(`block-${number}`).textContent));
    return blocks.get(number)[at % BLOCK];
  };

  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    for (const child of children) if (child !== null && child !== undefined && child !== "") node.append(child);
    return node;
  };
  const prose = (tag, className, text) => // the parts in backquotes are code
    el(tag, className, ...(text || "").split(/`([^`]+)`/).map((part, at) => at % 2 ? el("code", "", part) : part));
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const time = (ms) => ms < 1 ? `${ms.toPrecision(2)} ms` : ms < 1000 ? `${Math.round(ms)} ms`
    : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${String(Math.floor(ms / 1000) % 60).padStart(2, "0")} s`;
  const bytes = (count) => count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(1)} kB`
    : count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(1)} GB`;

  const haystack = (parts) => parts.flat(9).filter(Boolean).join("\n").toLowerCase();
  const words = (one) => [one.what, one.row, one.place, one.oracle, one.subject, one.detail, one.signature];
  cases.forEach((one, at) => {
    one.at = at;
    one.ms ||= [0, 0];
    one.bytes ||= [0, 0];
  });
  // The text that a search looks at is made with the first search.
  const textOf = (one) => one.text ??= ((full) => haystack([one.name, one.reason, full.purpose, full.artifact, full.sha256, full.rows || [],
    (full.passes || []).map((pass) => [pass.reason, (pass.divergences || []).map(words)])]))(detailOf(one.at));
  const largest = (key) => cases.reduce((most, one) => Math.max(most, ...one[key]), 0);
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
    for (const [place, role] of ["oracle", "subject"].entries()) {
      const cost = one[key][place];
      const bar = el("i", role);
      // The label has a width of its own, so that the longest bar ends before it and the others are shorter in proportion.
      bar.style.width = `calc((100% - 4.2rem) * ${Math.max(0.01, length(key, cost)).toFixed(3)})`;
      const value = cost ? unit(cost) : "-";
      const label = el("span", "", bar, value);
      label.title = `${columns[role]}: ${value}`;
      box.append(label);
    }
    return box;
  };
  const placeOf = (one) => [one.row ? `row ${one.row}` : "", ...(one.place || [])].filter(Boolean).join(" · ");

  // A case: one line, and all of it when it is opened.
  const caseRow = (one) => {
    const name = el("span", "name", one.name, " ", one.state ? tag(one.state, `state-${one.state.replace(" ", "-")}`) : "",
      one.expected ? tag("expected") : "", (one.marks || []).includes("vacuous") ? tag("vacuous") : "");
    if (one.reason) name.append(prose("span", "why", one.reason));
    const summary = el("summary", "", verdictWord(one.verdict), name,
      el("span", "passes", ...(one.modes || []).map((mode) => el("span", "", mode))),
      el("span", "bars", gauge(one, "ms", time), gauge(one, "bytes", bytes)));
    const details = el("details", "case", summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(caseDetail(detailOf(one.at)));
    });
    return el("li", "", details);
  };
  const commandLine = (line) => {
    const code = el("code", "command", line);
    code.tabIndex = 0;
    const box = el("span", "", code);
    copyable(code);
    return box;
  };
  const listOf = (title, lines) => el("div", "", el("strong", "small", title), el("ul", "plain small", ...lines.map((line) => prose("li", "", line))));
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
        ["purpose", one.purpose && prose("span", "", one.purpose)],
        ["reason", one.reason && prose("span", "", one.reason)],
        ["artifact", one.artifact],
        ["sha256", one.sha256 && el("code", "", one.sha256)],
        ["plan", one.plan && el("code", "", one.plan)],
        ["rows", rows.length ? el("code", "", rows.join(", ") + (rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "")) : ""],
        ["duration", one.ms ? time(one.ms) : ""],
        ["rerun", one.again && commandLine(one.again)],
      ]), ...(one.passes || []).map(passDetail));
    if (one.not_compared) box.append(listOf("not compared", one.not_compared));
    if (one.explanation) box.append(fold("explanation", one.explanation));
    if (one.trimmed) box.append(el("p", "quiet small", "This report is large: the rest of this case is in report.json."));
    return box;
  };
  const passDetail = (pass) => {
    const head = el("div", "pass-head", el("strong", "", `${pass.mode} pass`),
      pass.verdict ? verdictWord(pass.verdict) : el("span", "quiet", "not applicable"), pass.vacuous ? tag("vacuous") : "",
      prose("span", "quiet small", pass.reason));
    const box = el("div", "pass", head);
    if (pass.oracle || pass.subject)
      box.append(el("div", "sides", ...["oracle", "subject"].filter((role) => pass[role]).map((role) => sideDetail(pass[role], role))));
    if (pass.compared) box.append(el("p", "quiet small", `compared: ${pass.compared}`));
    const found = pass.divergences || [];
    if (found.length) {
      box.append(el("strong", "small", `${plural(pass.total, "difference")}, in the order of execution`));
      for (const one of found)
        box.append(el("div", "difference", el("p", "small", el("strong", "", one.what), " ", el("span", "quiet", placeOf(one))),
          pair(one), one.detail ? prose("p", "quiet small", one.detail) : ""));
      if (pass.total > found.length) box.append(el("p", "quiet small", `and ${plural(pass.total - found.length, "more difference")}, in report.json`));
    }
    for (const [title, lines] of pass.lists || []) box.append(listOf(title, lines));
    for (const [title, text] of pass.printed || []) box.append(fold(title, text));
    for (const role of ["oracle", "subject"])
      if (pass[role] && pass[role].log) box.append(fold(`output of ${columns[role]}`, pass[role].log));
    return box;
  };
  const sideDetail = (side, role) => el("div", `side ${role}`, el("span", "who", columns[role]), facts([
    ["outcome", side.words],
    ["time", `${time(side.ms)} (${time(side.cpu)} CPU)`],
    ["memory", side.bytes ? bytes(side.bytes) : "-"],
    ["executions", side.runs.toLocaleString("en")],
    ["digest", side.digest && el("code", "", side.digest)],
  ]));

  // A command is copied by a button beside it; a click on it selects it, with or without this script.
  const copyable = (code) => {
    const button = el("button", "copy", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(" ", button);
  };
  document.querySelectorAll("code.command").forEach(copyable);

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
  const showCases = lazy(byId("case-list"), CHUNK, caseRow, cases.length ? "No case under these filters." : "The run has no cases.");
  const causes = [...document.querySelectorAll("#cause-list > li")];

  // Filters: the address keeps them, so that a view can be sent as a link.
  const views = [...document.querySelectorAll("[data-view]")];
  const chips = [...document.querySelectorAll("button[data-state]")];
  const fields = { q: byId("q"), verdict: byId("verdict"), only: byId("mark"), order: byId("order") };
  const first = causes.length ? "causes" : "cases";
  let view = first;
  const state = () => ({
    ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value])),
    states: chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.state),
  });
  const rank = (one) => one.state in RANK ? RANK[one.state] : 3 + VERDICTS[one.verdict];
  const ratio = (one) => one.ms[0] ? one.ms[1] / one.ms[0] : 0;
  const ORDERS = {
    "": (a, b) => rank(a) - rank(b) || a.at - b.at,
    name: (a, b) => a.at - b.at,
    time: (a, b) => b.ms[1] - a.ms[1],
    memory: (a, b) => b.bytes[1] - a.bytes[1],
    ratio: (a, b) => ratio(b) - ratio(a),
  };
  const of = (count, all, noun) => `${count === all ? "" : `${count.toLocaleString("en")} of `}${plural(all, noun)}`;

  const applyCauses = (wanted, parts, states) => {
    let shown = 0;
    for (const row of causes) {
      const text = parts.length ? row.textContent.toLowerCase() : "";
      row.hidden = !((!states.size || states.has(row.dataset.state)) && parts.every((part) => text.includes(part)));
      shown += !row.hidden;
    }
    return of(shown, causes.length, "cause");
  };
  const applyCases = (wanted, parts, states) => {
    const kept = cases.filter((one) => (!states.size || states.has(one.state)) && (!wanted.verdict || one.verdict === wanted.verdict)
      && (!wanted.only || (one.marks || []).includes(wanted.only))
      && (!parts.length || parts.every((part) => textOf(one).includes(part)))).sort(ORDERS[wanted.order] || ORDERS[""]);
    showCases(kept);
    return of(kept.length, cases.length, "case");
  };
  const apply = () => {
    const wanted = state();
    const parts = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const states = new Set(wanted.states);
    for (const name of ["causes", "cases"]) byId(name).hidden = name !== view;
    for (const field of document.querySelectorAll(".for-cases")) field.hidden = view !== "cases";
    for (const chip of views) chip.setAttribute("aria-pressed", String(chip.dataset.view === view));
    byId("count").textContent = (view === "causes" ? applyCauses : applyCases)(wanted, parts, states);
    byId("clear").disabled = !(parts.length || states.size || wanted.verdict || wanted.only || wanted.order);
  };
  const remember = () => {
    const wanted = state();
    const kept = new URLSearchParams();
    if (view !== first) kept.set("view", view);
    for (const name of Object.keys(fields)) if (wanted[name]) kept.set(name, wanted[name]);
    if (wanted.states.length) kept.set("state", wanted.states.join(","));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
  };
  const recall = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    view = ["causes", "cases"].includes(given.get("view")) ? given.get("view") : first;
    for (const [name, field] of Object.entries(fields)) {
      field.value = given.get(name) || "";
      if (field.selectedIndex === -1) field.value = "";
    }
    const states = (given.get("state") || "").split(",");
    for (const chip of chips) chip.setAttribute("aria-pressed", String(states.includes(chip.dataset.state)));
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
  for (const chip of views) chip.addEventListener("click", () => { view = chip.dataset.view; changed(); });
  byId("clear").addEventListener("click", () => {
    for (const field of Object.values(fields)) field.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    changed();
    fields.q.focus();
  });
  // An anchor of the page, such as a skip link, selects its view and is not a filter.
  window.addEventListener("hashchange", () => {
    const anchor = location.hash.slice(1);
    const target = document.getElementById(anchor);
    if (!target) recall();
    else if (["causes", "cases"].includes(anchor)) view = anchor;
    apply();
    if (target) { target.focus(); target.scrollIntoView(); }
  });

  byId("filters").hidden = false;
  if (["causes", "cases"].includes(location.hash.slice(1))) view = location.hash.slice(1);
  else recall();
  apply();

  document.documentElement.dataset.ready = "yes";
})();
