"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse(window.iqaColumns ?? $("data").textContent);
  const count = data.name.length;
  const list = $("list");
  const details = new Map(); // chunk -> its texts, once its file is here
  const waiting = new Map();
  const lower = []; // names for searching, made when first needed
  let shown = []; // rows that pass the filters, in order
  let drawn = new Map(); // place in shown -> element

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text; // names are untrusted: never as HTML
    return made;
  };

  // Data.

  const thumbnail = (row) => {
    if (data.inside) return data.images[row];
    const thumb = data.thumb[row];
    return thumb ? `thumbnails/${thumb.slice(0, 2)}/${thumb}.webp` : "";
  };
  const findings = (row) => {
    const found = data.found[row], out = [];
    for (let i = 0; i < found.length; i += 2) out.push([data.kinds[found[i]], found[i + 1]]);
    return out;
  };
  const address = (row) =>
    data.link === null ? null : data.link + data.name[row].split("/").map(encodeURIComponent).join("/");

  window.iqaDetails = (part, texts) => {
    details.set(part, texts);
    for (const done of waiting.get(part) || []) done(texts);
    waiting.delete(part);
  };
  const withDetails = (row, done) => {
    if (data.inside) return done(data.details[row]);
    const part = Math.floor(row / data.perFile), at = row % data.perFile;
    if (details.has(part)) return done(details.get(part)[at]);
    const first = !waiting.has(part);
    waiting.set(part, [...(waiting.get(part) || []), (texts) => done(texts[at])]);
    if (!first) return;
    const script = document.createElement("script"); // a file:// page may load scripts, but not fetch
    script.src = `details/${String(part).padStart(5, "0")}.js`;
    script.onerror = () => { waiting.delete(part); done([null, "its text is not beside this page"]); };
    document.head.append(script);
  };

  // Filters and order.

  const number = (id) => ($(id).value === "" ? null : Number($(id).value));

  function filter() {
    const wanted = $("search").value.trim().toLowerCase();
    const low = number("low"), high = number("high"), sure = number("sure");
    const kind = $("kind").value, place = data.kinds.indexOf(kind), show = $("show").value;
    if (wanted && !lower.length) for (const name of data.name) lower.push(name.toLowerCase());
    const rows = [];
    for (let row = 0; row < count; row++) {
      const mos = data.mos[row];
      if (wanted && !lower[row].includes(wanted)) continue;
      if (show === "errors" ? mos !== null : show === "groups" && !data.group[row]) continue;
      if (low !== null && !(mos !== null && mos >= low)) continue;
      if (high !== null && !(mos !== null && (mos < high || (mos === high && high >= 5)))) continue;
      if (sure !== null && !(data.confidence[row] !== null && data.confidence[row] >= sure)) continue;
      if (kind === "-" ? mos === null || data.found[row].length : kind && !hasKind(row, place)) continue;
      rows.push(row);
    }
    return sorted(rows);
  }
  function hasKind(row, place) {
    const found = data.found[row];
    for (let i = 0; i < found.length; i += 2) if (found[i] === place) return true;
    return false;
  }
  function sorted(rows) {
    const order = $("order").value;
    if ($("show").value === "groups") return rows.sort((a, b) => data.group[a] - data.group[b] || data.mos[b] - data.mos[a]);
    if (order === "name") return rows; // as they come
    const key = new Float64Array(count);
    for (const row of rows) {
      const value = order === "confidence" ? data.confidence[row]
        : order === "width" ? (data.high[row] === null ? null : data.low[row] - data.high[row])
        : order === "mos-down" ? (data.mos[row] === null ? null : -data.mos[row]) : data.mos[row];
      key[row] = value === null ? Infinity : value; // what could not be scored comes last
    }
    return Uint32Array.from(rows).sort((a, b) => (key[a] < key[b] ? -1 : key[a] > key[b] ? 1 : a - b));
  }

  // The list: only cards near the window exist.

  let columns = 1, wide = 0;
  const gap = 12;
  const height = () => (matchMedia("(max-width: 640px)").matches ? 206 : 236);

  function layout() {
    const width = list.clientWidth;
    columns = Math.max(2, Math.floor((width + gap) / (212 + gap)));
    wide = (width - gap * (columns - 1)) / columns;
    list.style.height = `${Math.ceil(shown.length / columns) * (height() + gap)}px`;
    for (const card of drawn.values()) card.remove();
    drawn = new Map();
    draw();
  }
  function draw() {
    const tall = height() + gap, top = list.getBoundingClientRect().top;
    const few = shown.length <= 300; // all of them, for printing and for searching in the page
    const first = few ? 0 : Math.max(0, Math.floor((-top - 600) / tall)) * columns;
    const last = few ? shown.length : Math.min(shown.length, Math.ceil((-top + innerHeight + 600) / tall) * columns);
    for (const [place, card] of drawn) if (place < first || place >= last) { card.remove(); drawn.delete(place); }
    const fresh = document.createDocumentFragment();
    let before = null;
    for (let place = first; place < last; place++) {
      if (!drawn.has(place)) {
        const card = cardOf(shown[place], place);
        card.style.cssText = `left:${(place % columns) * (wide + gap)}px;top:${Math.floor(place / columns) * tall}px;width:${wide}px;height:${height()}px`;
        drawn.set(place, card);
        if (before === null && place > first) before = place;
        fresh.append(card);
      }
    }
    if (fresh.childNodes.length) {
      list.append(fresh);
      // keep the order of the tab key: cards stand in the document as on the page
      const focused = document.activeElement;
      const inOrder = [...drawn.keys()].sort((a, b) => a - b);
      if (!list.contains(focused)) for (const place of inOrder) list.append(drawn.get(place));
    }
  }
  function cardOf(row, place) {
    const item = element("div");
    item.setAttribute("role", "listitem");
    item.setAttribute("aria-posinset", place + 1);
    item.setAttribute("aria-setsize", shown.length);
    const card = element("button", "card");
    card.type = "button";
    card.style.cssText = "position:static;width:100%;height:100%";
    item.style.position = "absolute";
    item.className = "cell";
    const image = thumbnail(row);
    if (image) {
      const img = element("img");
      img.src = image; img.alt = ""; img.loading = "lazy"; img.decoding = "async";
      card.append(img);
    } else card.append(element("span", "blank"));
    const text = element("div");
    const mos = data.mos[row];
    if (mos === null) {
      text.append(element("span", "mos bad", "not scored"), element("span", "name", data.name[row]), element("span", "found", data.error[row]));
    } else {
      const level = data.levels[data.level[row]];
      const head = element("span", `mos ${level}`);
      head.append(element("b", "", mos.toFixed(2)), ` ${level}`);
      text.append(head, scaleOf(row), element("span", "name", data.name[row]));
      const found = findings(row).map(([kind, severity]) => `${kind} ${severity}/5`).join(", ");
      text.append(element("span", "found", found || "no distortion found"));
    }
    card.append(text);
    card.title = data.name[row];
    card.addEventListener("click", () => open(row));
    item.append(card);
    return item;
  }
  function scaleOf(row) {
    const scale = element("span", "scale"), at = (mos) => `${((mos - 1) / 4) * 100}%`;
    if (data.low[row] !== null) {
      const interval = element("i");
      interval.style.left = at(data.low[row]);
      interval.style.width = `${((data.high[row] - data.low[row]) / 4) * 100}%`;
      scale.append(interval);
    }
    const mark = element("b");
    mark.style.left = `calc(${at(data.mos[row])} - 1px)`;
    scale.append(mark);
    return scale;
  }

  // One picture.

  function open(row) {
    const body = $("one-body"), name = element("h2", "", data.name[row]);
    name.id = "one-name";
    body.replaceChildren(name);
    const image = thumbnail(row), link = address(row);
    if (image) { const img = element("img"); img.src = image; img.alt = ""; body.append(img); }
    if (data.mos[row] === null) body.append(element("p", "bad", data.error[row]));
    else {
      const level = data.levels[data.level[row]], head = element("p", `mos ${level}`);
      head.append(element("b", "", data.mos[row].toFixed(2)), ` of 5, ${level}`);
      body.append(head);
      if (data.low[row] !== null) body.append(element("p", "soft", `interval ${data.low[row].toFixed(2)} to ${data.high[row].toFixed(2)}`));
      for (const [kind, severity] of findings(row)) body.append(element("p", "", `${kind}, severity ${severity} of 5`));
      if (data.confidence[row] !== null) body.append(element("p", "soft", `confidence of the text ${data.confidence[row].toFixed(2)}`));
      body.append(element("p", "soft", `${data.width[row]} x ${data.height[row]} pixels`));
      if (data.group[row]) body.append(element("p", "soft", `near-duplicates: group ${data.group[row]}`));
      const texts = element("div");
      body.append(texts);
      withDetails(row, ([why, note, advice, doubts]) => {
        if (doubts.length) texts.append(element("p", "doubt", `Distrust this score: ${doubts.join("; ")}`));
        if (why) texts.append(element("p", "", why));
        for (const text of advice) { const p = element("p", "", text); p.prepend(element("b", "", "Do: ")); texts.append(p); }
        if (note) texts.append(element("p", "soft small", note));
      });
    }
    if (link !== null) { const a = element("a", "", "open the picture itself"); a.href = link; body.append(a); }
    $("one").showModal();
  }

  // Events.

  function refresh() {
    shown = filter();
    $("count").textContent = shown.length === count ? `${count} pictures` : `${shown.length} of ${count} pictures`;
    const low = $("low").value, high = $("high").value;
    for (const bar of document.querySelectorAll(".bar")) {
      const on = low !== "" && Number(bar.dataset.low) === Number(low) && Number(bar.dataset.high) === Number(high);
      bar.setAttribute("aria-pressed", on);
    }
    layout();
  }
  let soon = 0;
  addEventListener("scroll", () => { if (!soon) soon = requestAnimationFrame(() => { soon = 0; draw(); }); }, { passive: true });
  addEventListener("resize", layout);
  document.querySelector("main").addEventListener("toggle", () => draw(), true);
  $("controls").addEventListener("input", refresh);
  $("controls").addEventListener("reset", () => setTimeout(refresh));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const bar of document.querySelectorAll(".bar")) {
    bar.addEventListener("click", () => {
      const off = bar.getAttribute("aria-pressed") === "true";
      $("low").value = off ? "" : bar.dataset.low;
      $("high").value = off ? "" : bar.dataset.high;
      refresh();
      if (!off) $("gallery").scrollIntoView();
    });
  }
  $("one").addEventListener("click", (event) => { if (event.target === $("one")) $("one").close(); });
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  refresh();
  document.documentElement.dataset.firstList = performance.now().toFixed(0);
})();
