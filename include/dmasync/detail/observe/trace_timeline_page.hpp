// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_timeline_page.hpp  The page that shows the timeline of a trace: what is the same for each. It loads nothing.

#include <dmasync/version.hpp>

#include <string_view>

namespace dmasync::inline DMASYNC_ABI::detail {

/// How the page looks, and how the pictures look that it saves.
inline constexpr std::string_view trace_timeline_style = R"css(
.tl { --bg: #ffffff; --fg: #1f2328; --dim: #656d76; --line: #d8dee4; --band: #f6f8fa; --alarm: #cf222e; --chosen: #0a3069;
  --read: #58a6e8; --write: #f0883e; --read_write: #e5534b; --dma_read: #2fb8a6; --dma_write: #c965b0;
  --dma_read_write: #8a6fe0; --ink: #10161d; font: 11px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  .tl { --bg: #0d1117; --fg: #e6edf3; --dim: #8d96a0; --line: #30363d; --band: #151b23; --alarm: #ff7b72; --chosen: #f0f6fc; }
}
.tl text { fill: var(--fg); pointer-events: none; font-size: 12px; }
.tl .dim { fill: var(--dim); }
.tl .paper { fill: var(--bg); }
.tl .band { fill: var(--band); }
.tl .grid { stroke: var(--line); stroke-width: 1; }
.tl text.ink { fill: var(--ink); }
.tl text.small { font-size: 10px; }
.tl .a0 { fill: var(--dim); } .tl .wait.a0, .tl .fence.a0 { stroke: var(--dim); }
.tl .a1 { fill: var(--read); } .tl .a2 { fill: var(--write); } .tl .a3 { fill: var(--read_write); }
.tl .a5 { fill: var(--dma_read); } .tl .a6 { fill: var(--dma_write); } .tl .a7 { fill: var(--dma_read_write); }
.tl .s { cursor: pointer; }
.tl .wait, .tl .fence { fill-opacity: .22; stroke-width: 1; stroke-opacity: .9; }
.tl .fence { stroke-dasharray: 2 2; }
.tl .wait.a1, .tl .fence.a1 { stroke: var(--read); } .tl .wait.a2, .tl .fence.a2 { stroke: var(--write); }
.tl .wait.a3, .tl .fence.a3 { stroke: var(--read_write); } .tl .wait.a5, .tl .fence.a5 { stroke: var(--dma_read); }
.tl .wait.a6, .tl .fence.a6 { stroke: var(--dma_write); } .tl .wait.a7, .tl .fence.a7 { stroke: var(--dma_read_write); }
.tl .s.bad, .tl .wait.bad { stroke: var(--alarm); stroke-width: 1.5; }
.tl .late { fill: var(--alarm); }
.tl .over { stroke: var(--fg); stroke-width: 1; stroke-dasharray: 3 2; fill: none; }
.tl .lent { fill: var(--ink); fill-opacity: .28; pointer-events: none; }
.tl .s.chosen { stroke: var(--chosen); stroke-width: 2; stroke-opacity: 1; stroke-dasharray: none; }
.tl .mark { cursor: pointer; fill: var(--dim); stroke: var(--bg); stroke-width: 1; }
.tl .mark.alarm { fill: var(--alarm); }
.tl .lost { fill: var(--dim); fill-opacity: .18; }
)css";

inline constexpr std::string_view trace_timeline_page_style = R"css(
:root { color-scheme: light dark; }
html, body { height: 100%; margin: 0; }
body.tl { display: grid; grid-template-rows: auto auto minmax(0, 1fr) auto; background: var(--bg); color: var(--fg);
  font: 13px system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: baseline; padding: 10px 12px 6px; }
h1 { font-size: 15px; margin: 0; }
#summary { color: var(--dim); flex: 1 1 300px; }
#summary b { color: var(--alarm); font-weight: 600; }
nav button { font: inherit; color: inherit; background: var(--band); border: 1px solid var(--line); border-radius: 6px;
  padding: 2px 9px; cursor: pointer; }
#legend { display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 0 12px 8px; color: var(--dim); font-size: 12px;
  border-bottom: 1px solid var(--line); }
#legend span { white-space: nowrap; }
#legend svg { vertical-align: -2px; margin-right: 4px; }
main { overflow: auto; position: relative; }
main > svg { display: block; touch-action: none; }
#axis { position: sticky; top: 0; z-index: 1; cursor: ew-resize; }
#chart { cursor: grab; }
#details { border-top: 1px solid var(--line); padding: 8px 12px; min-height: 92px; max-height: 34vh; overflow: auto; }
#details dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 3px 18px; margin: 0; }
#details div { display: flex; gap: 8px; min-width: 0; }
#details dt { color: var(--dim); flex: 0 0 78px; }
#details dd { margin: 0; overflow-wrap: anywhere; }
#details button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-decoration: underline;
  cursor: pointer; text-align: left; }
)css";

inline constexpr std::string_view trace_timeline_page_body =
    R"html(<header><h1 id="title"></h1><span id="summary"></span>
<nav><button id="zoom-in" title="zoom in (+)">+</button> <button id="zoom-out" title="zoom out (-)">&minus;</button>
<button id="left" title="earlier (left arrow)">&larr;</button> <button id="right" title="later (right arrow)">&rarr;</button>
<button id="fit" title="all of it (0)">all</button> <button id="save" title="save what is seen as a picture">SVG</button></nav>
</header>
<div id="legend"></div>
<main><svg id="axis" height="24"></svg><svg id="chart"></svg></main>
<section id="details" aria-live="polite"><span class="dim">Wheel: zoom. Drag: move. Shift and drag, or drag on the scale:
zoom to what is marked. Click on a slice: what it was, and what was waited for.</span></section>
<noscript>This page draws with JavaScript; it loads nothing.</noscript>
)html";

/// The page's program. `data` is what trace_timeline_html.hpp writes.
inline constexpr std::string_view trace_timeline_script = R"js("use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const [HOLD, WAIT, FENCE] = [0, 1, 2];
const ACCESS = {1: "read", 2: "write", 3: "read_write", 5: "dma_read", 6: "dma_write", 7: "dma_read_write"};
const ENDS = ["not before the trace did", "not recorded, or overwritten", "granted", "unlock", "the device had finished",
  "lease expired", "went on with another access", "gave up"];
const ALARMS = new Set(["expired", "overdue", "device failed", "wounded", "died"]);
const LEFT = 132, HOLD_HEIGHT = 18, WAIT_HEIGHT = 13, GAP = 5, MOST_LANES = 12, AXIS = 24;
const writes = mode => (mode & 2) !== 0;

// ---- the data: columns become objects, and each lane knows its slices in order -----------------------------------------

const slices = data.slices.map((c, index) => ({index, track: c[0], kind: c[1], mode: c[2], end: c[3], lane: c[4], lock: c[5],
  set: c[6], beginThread: c[7], endThread: c[8], why: c[9], begin: c[10], until: c[11], waited: c[12], lent: c[13],
  before: c[14], cls: "s " + ["hold", "wait", "fence"][c[1]] + " a" + c[2]}));
const marks = data.marks.map((c, index) => ({index, track: c[0], kind: c[1], mode: c[2], set: c[3], thread: c[4], why: c[5],
  time: c[6]}));
const tracks = data.tracks.map((c, index) => ({index, name: c[0] || "buffer " + index, domain: c[1], bytes: c[2],
  holds: Math.min(c[3], MOST_LANES), waits: Math.min(c[4], MOST_LANES), holdLanes: [], waitLanes: [], marks: []}));
const locks = new Map();
for (const s of slices) {
  const lanes = s.kind === HOLD ? tracks[s.track].holdLanes : tracks[s.track].waitLanes;
  (lanes[s.lane] ??= []).push(s);
  locks.get(s.lock)?.push(s) ?? locks.set(s.lock, [s]);
}
for (const m of marks) tracks[m.track].marks.push(m);
let height = 0;
for (const t of tracks) {
  t.top = height;
  t.waitTop = t.top + GAP + Math.max(t.holds, 1) * HOLD_HEIGHT;
  height = t.waitTop + t.waits * WAIT_HEIGHT + GAP;
}
const holdY = (t, lane) => t.top + GAP + Math.min(lane, MOST_LANES - 1) * HOLD_HEIGHT;
const waitY = (t, lane) => t.waitTop + Math.min(lane, MOST_LANES - 1) * WAIT_HEIGHT;
const severalDomains = new Set(tracks.map(t => t.domain)).size > 1;

/// The index of the first of a lane's slices that has not ended by `time`.
function firstAfter(lane, time) {
  let low = 0, high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane[middle].until <= time) low = middle + 1; else high = middle;
  }
  return low;
}

/// The holds that a wait was for: those of its buffer that exclude it, last ended first.
function blockers(wait) {
  const found = [];
  for (const lane of tracks[wait.track].holdLanes) {
    if (!lane) continue;
    for (let i = firstAfter(lane, wait.begin); i < lane.length && lane[i].begin < wait.until; ++i) {
      if (lane[i].lock !== wait.lock && (writes(lane[i].mode) || writes(wait.mode))) found.push(lane[i]);
    }
  }
  return found.sort((a, b) => b.until - a.until);
}
const holdAfter = wait => locks.get(wait.lock).find(s => s.kind === HOLD && s.track === wait.track && s.begin >= wait.until);

// ---- text --------------------------------------------------------------------------------------------------------------

const escaped = text => String(text).replace(/[&<>"']/g, c => "&#" + c.charCodeAt(0) + ";");
const nameOf = s => data.sets[s.set] || ACCESS[s.mode];
function duration(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (Math.abs(ns) >= size) return +(ns / size).toPrecision(4) + " " + unit;
  }
  return Math.round(ns) + " ns";
}
const moment = ns => (ns / 1e6).toFixed(6).replace(/(\.\d*?[1-9])0+$|\.0+$/, "$1") + " ms";
function bytes(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 1024]]) {
    if (n >= size) return +(n / size).toPrecision(3) + " " + unit;
  }
  return n ? n + " B" : "";
}
const threadOf = i => data.threads[i] ? (data.threads[i][0] + " (" + data.threads[i][1] + ")").trim() : "";
function waitLabel(s) {
  if (s.kind === FENCE) return nameOf(s) + " waits for devices";
  const names = [...new Set(blockers(s).map(nameOf))];
  if (!names.length) { // it is free, but another one of the set is not
    const other = locks.get(s.lock).find(o => o.kind === WAIT && o.begin === s.begin && blockers(o).length);
    return nameOf(s) + (other ? " waits for " + tracks[other.track].name : " waits");
  }
  return nameOf(s) + " waits for " + names[0] + (names.length > 1 ? " and " + (names.length - 1) + " more" : "");
}

// ---- the view ----------------------------------------------------------------------------------------------------------

const span = Math.max(data.end, 1000);
const all = {from: -span * 0.01, to: span * 1.01};
const view = {...all};
let chosen = null, scheduled = false;

function show(from, to) {
  const width = Math.min(Math.max(to - from, 100), (all.to - all.from));
  from = Math.min(Math.max(from + (to - from - width) / 2, all.from), all.to - width);
  [view.from, view.to] = [from, from + width];
  if (!scheduled) { scheduled = true; requestAnimationFrame(() => { scheduled = false; draw(); }); }
}
const zoom = (factor, around = (view.from + view.to) / 2) =>
  show(around - (around - view.from) * factor, around + (view.to - around) * factor);
const move = part => show(view.from + part * (view.to - view.from), view.to + part * (view.to - view.from));

// ---- drawing: what is in view, as text of SVG --------------------------------------------------------------------------

const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();
function widthOf(text, size) {
  const key = size + text;
  if (!widths.has(key)) {
    if (widths.size > 20000) widths.clear();
    pen.font = size + "px system-ui, sans-serif";
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}
/// As much of the text as there is room for; nothing when that is next to nothing.
function fitted(text, width, size = 12) {
  if (widthOf(text, size) <= width) return text;
  const letters = [...text];
  let n = Math.min(letters.length, Math.floor(width / 3));
  while (n > 0 && widthOf(letters.slice(0, n).join("") + "…", size) > width) --n;
  return n >= 3 ? letters.slice(0, n).join("") + "…" : "";
}

/// One lane. Slices narrower than a grain that lie in the same one are drawn as one; `data-n` says how many.
function drawLane(lane, y, h, {from, to, x, grain}, out) {
  let run = null;
  const flush = () => {
    if (!run) return;
    const cls = run.n === 1 ? classes(run.first) : run.first.cls;
    const width = Math.max(run.end - run.x, 1);
    out.push(`<rect class="${cls}" data-n="${run.n}" data-i="${run.first.index}" data-until="${run.until}"
 x="${short(run.x)}" y="${y}" width="${short(width)}" height="${h}"/>`);
    run = null;
  };
  for (let i = Math.max(firstAfter(lane, from) - 1, 0); i < lane.length && lane[i].begin <= to; ++i) {
    const s = lane[i];
    if (s.until < from) continue;
    const left = x(Math.max(s.begin, from)), right = x(Math.min(s.until, to));
    const narrow = right - left < grain;
    if (run && narrow && left < run.x + grain && s.lock !== chosen?.lock) {
      run.n += 1;
      run.end = Math.max(run.end, right);
      run.until = s.until;
      if (writes(s.mode) && !writes(run.first.mode)) run.first = s;
      continue;
    }
    flush();
    run = {first: s, n: 1, x: left, end: right, until: s.until};
    if (narrow) continue;
    flush();
    drawInside(s, left, right, y, h, x, out);
  }
  flush();
}

const short = pixels => Math.round(pixels * 100) / 100;
const classes = s => s.cls + (s.end === 7 ? " bad" : "") + (chosen && s.lock === chosen.lock ? " chosen" : "");

function drawInside(s, left, right, y, h, x, out) {
  if (s.lent >= 0) {
    const since = Math.min(Math.max(x(s.lent), left), right);
    out.push(`<rect class="lent" x="${short(since)}" y="${y + h - 5}" width="${short(right - since)}" height="5"/>`);
  }
  if (s.end === 5) out.push(`<rect class="late" x="${short(right - 3)}" y="${y - 1}" width="3" height="${h + 2}"/>`);
  if (right - left < 26) return;
  const label = s.kind === HOLD ? nameOf(s) : waitLabel(s);
  const size = s.kind === HOLD ? 12 : 10;
  const text = fitted(s.lent >= 0 ? label + ": device" : label, right - left - 7, size);
  if (!text) return;
  out.push(`<text class="${s.kind === HOLD ? "ink" : "small"}" x="${short(left + 4)}" y="${y + h / 2 + size / 2 - 1.5}">` +
    escaped(text) + "</text>");
}

/// From the end of each wait to the hold that it became, where both can be told apart.
function drawHandOvers(track, {from, to, x}, out) {
  track.waitLanes.forEach((lane, n) => {
    let last = -9;
    for (let i = firstAfter(lane, from); i < lane.length && lane[i].begin <= to; ++i) {
      const s = lane[i];
      if (s.end !== 2 || s.until > to || x(s.until) < Math.max(last, x(s.begin)) + 4) continue;
      const next = holdAfter(s);
      if (!next || next.begin !== s.until) continue;
      last = x(s.until);
      out.push(`<path class="over" d="M${short(last)} ${waitY(track, n) + WAIT_HEIGHT - 3}V${holdY(track, next.lane) + 14}"/>`);
    }
  });
}

function drawMarks(track, {from, to, x}, out) {
  let run = null;
  const flush = () => {
    if (!run) return;
    const alarm = ALARMS.has(run.m.kind) ? " alarm" : "";
    out.push(`<path class="mark${alarm}" data-m="${run.m.index}" data-n="${run.n}"
 d="M${short(run.x - 5)} ${track.top}h10l-5 8z"><title>${escaped(markText(run.m))}</title></path>`);
  };
  for (const m of track.marks) {
    if (m.time < from || m.time > to) continue;
    const at = x(m.time);
    if (run && at - run.x < 3) {
      run.n += 1;
      if (ALARMS.has(m.kind)) run.m = m;
      continue;
    }
    flush();
    run = {m, n: 1, x: at};
  }
  flush();
}
const markText = m => m.kind + ": " + nameOf(m) + (m.why ? ", " + data.whys[m.why] : "");

function drawAxis(v, width, heightBelow) {
  const step = (() => {
    const least = (v.to - v.from) / Math.max((width - LEFT) / 110, 1);
    let s = 10 ** Math.floor(Math.log10(least));
    for (const f of [1, 2, 5, 10]) if (s * f >= least) return s * f;
    return s * 10;
  })();
  const labels = [], lines = [];
  const [unit, size] = step >= 1e9 ? ["s", 1e9] : step >= 1e6 ? ["ms", 1e6] : step >= 1e3 ? ["µs", 1e3] : ["ns", 1];
  for (let t = Math.ceil(v.from / step) * step; t <= v.to; t += step) {
    const at = short(v.x(t));
    lines.push(`<path class="grid" d="M${at} 0V${heightBelow}"/>`);
    if (at < LEFT + 18 || at > width - 24) continue;
    labels.push(`<text class="dim" x="${at}" y="15" text-anchor="middle">${+(t / size).toFixed(6)} ${unit}</text>`);
  }
  return {labels: labels.join(""), lines: lines.join("")};
}

/// Units of `grain`: pixels; one, unless there would be more shapes than a browser moves smoothly.
function viewFor(width, from = view.from, to = view.to) {
  return {from, to, grain: 1, x: t => LEFT + (t - from) / (to - from) * (width - LEFT)};
}
const MOST_SHAPES = 12000;
let lastGrain = 1;

/// The chart below the scale.
function chartText(v, width) {
  const out = [];
  for (v.grain = Math.max(lastGrain / 2, 1); v.grain < 32; v.grain *= 2) {
    out.length = 0;
    for (const t of tracks) {
      t.holdLanes.forEach((lane, n) => drawLane(lane, holdY(t, n) + 1, HOLD_HEIGHT - 2, v, out));
      t.waitLanes.forEach((lane, n) => drawLane(lane, waitY(t, n) + 1, WAIT_HEIGHT - 3, v, out));
    }
    if (out.length <= MOST_SHAPES) break;
  }
  lastGrain = v.grain;
  return paperText(v, width) + out.join("\n") + overlayText(v, width);
}

/// What is behind the slices.
function paperText(v, width) {
  const axis = drawAxis(v, width, height);
  const out = [`<rect class="paper" width="${width}" height="${height}"/>`];
  for (const t of tracks) {
    if (t.index % 2) out.push(`<rect class="band" y="${t.top}" width="${width}" height="${waitY(t, t.waits) + GAP - t.top}"/>`);
  }
  out.push(axis.lines);
  if (data.lost) {
    const end = v.x(Math.min(data.complete, v.to));
    if (end > LEFT) {
      out.push(`<rect class="lost" x="${LEFT}" width="${short(end - LEFT)}" height="${height}">
<title>records are lost here</title></rect>`);
    }
  }
  return out.join("\n");
}

/// What is before them.
function overlayText(v, width) {
  const out = [];
  for (const t of tracks) {
    drawHandOvers(t, v, out);
    drawMarks(t, v, out);
  }
  out.push(`<rect class="paper" width="${LEFT - 2}" height="${height}"/>`);
  for (const t of tracks) {
    const y = t.top + GAP + HOLD_HEIGHT / 2 + 4;
    const note = [bytes(t.bytes), severalDomains ? t.domain : ""].filter(Boolean).join(" · ");
    out.push(`<text x="10" y="${y}">${escaped(fitted(t.name, LEFT - 18))}</text>`);
    if (t.waits) {
      const below = fitted(note ? note + " · waits" : "waits", LEFT - 18, 10);
      out.push(`<text class="dim small" x="10" y="${t.waitTop + WAIT_HEIGHT - 3.5}">${escaped(below)}</text>`);
    }
  }
  out.push(`<path class="grid" d="M${LEFT - 1} 0V${height}"/>`);
  return out.join("\n");
}

const chart = document.getElementById("chart"), axisElement = document.getElementById("axis"), main = chart.parentElement;
function draw() {
  const width = Math.max(main.clientWidth, 300);
  const v = viewFor(width);
  for (const e of [chart, axisElement]) e.setAttribute("width", width);
  chart.setAttribute("height", height);
  axisElement.innerHTML = `<rect class="paper" width="${width}" height="${AXIS}"/>` + drawAxis(v, width, AXIS).labels +
    `<rect class="paper" width="${LEFT - 2}" height="${AXIS}"/><text class="dim" x="10" y="15">buffers</text>`;
  chart.innerHTML = chartText(v, width);
  let drawn = 0;
  const rects = chart.querySelectorAll("rect.s");
  rects.forEach(r => { drawn += +r.dataset.n; });
  Object.assign(document.documentElement.dataset, {slices: slices.length, drawn, shapes: rects.length,
    from: Math.round(view.from), to: Math.round(view.to)});
}

// ---- legend and summary ------------------------------------------------------------------------------------------------

const present = new Set(slices.map(s => s.mode));
const swatch = (cls, extra = "") =>
  `<svg width="22" height="12"><rect class="${cls}" x="1" y="1" width="20" height="10"/>${extra}</svg>`;
const kindsOfMarks = alarming => [...new Set(marks.map(m => m.kind).filter(k => ALARMS.has(k) === alarming))];
function legendItems() {
  const items = Object.entries(ACCESS).filter(([mode]) => present.has(+mode))
    .map(([mode, name]) => [swatch("hold a" + mode), "held: " + name]);
  if (slices.some(s => s.kind === WAIT)) items.push([swatch("wait a0"), "waits for it"]);
  if (slices.some(s => s.kind === FENCE)) items.push([swatch("fence a0"), "granted, waits for devices"]);
  if (slices.some(s => s.end === 7)) items.push([swatch("wait a0 bad"), "gave up"]);
  const device = swatch("hold a0", '<rect class="lent" x="1" y="7" width="20" height="4"/>');
  if (slices.some(s => s.lent >= 0)) items.push([device, "a device is at work"]);
  const late = swatch("hold a0", '<rect class="late" x="18" y="0" width="3" height="12"/>');
  if (slices.some(s => s.end === 5)) items.push([late, "lease expired"]);
  for (const [cls, kinds] of [["mark alarm", kindsOfMarks(true)], ["mark", kindsOfMarks(false)]]) {
    const glyph = `<svg width="14" height="12"><path class="${cls}" d="M2 2h10l-5 8z"/></svg>`;
    if (kinds.length) items.push([glyph, kinds.join(", ")]);
  }
  return items;
}
document.getElementById("title").textContent = document.title = data.title;
document.getElementById("legend").innerHTML = legendItems().map(([s, text]) => `<span>${s}${escaped(text)}</span>`).join("");
{
  const count = (n, what) => n.toLocaleString("en") + " " + what + (n === 1 ? "" : "s");
  const ofKind = kind => slices.filter(s => s.kind === kind).length;
  const parts = [count(tracks.length, "buffer"), count(data.locks, "lock"), count(ofKind(HOLD), "hold"),
    count(ofKind(WAIT), "wait"), duration(data.end)];
  const late = slices.filter(s => s.end === 5).length;
  const summary = document.getElementById("summary");
  summary.textContent = parts.join(" · ");
  const alarm = text => {
    summary.append(" · ");
    summary.appendChild(document.createElement("b")).textContent = text;
  };
  if (late) alarm(count(new Set(slices.filter(s => s.end === 5).map(s => s.lock)).size, "lease") + " expired");
  if (data.lost) alarm(data.lost.toLocaleString("en") + " of " + count(data.recorded, "record") + " lost");
}

// ---- details -----------------------------------------------------------------------------------------------------------

const details = document.getElementById("details");
function list(rows) {
  const dl = document.createElement("dl");
  for (const [term, ...values] of rows) {
    if (values.every(v => v === "" || v === undefined)) continue;
    const row = dl.appendChild(document.createElement("div"));
    row.appendChild(document.createElement("dt")).textContent = term;
    const dd = row.appendChild(document.createElement("dd"));
    dd.dataset.field = term;
    dd.append(...values);
  }
  details.replaceChildren(dl);
}
function link(s, text) {
  const b = document.createElement("button");
  b.textContent = text;
  b.addEventListener("click", () => choose(s.index));
  return b;
}
const links = (list, text) => list.slice(0, 8).flatMap((s, i) => [i ? ", " : "", link(s, text(s))])
  .concat(list.length > 8 ? [" and " + (list.length - 8) + " more"] : []);

function choose(index) {
  const s = chosen = slices[index];
  const sameKind = locks.get(s.lock).filter(o => o !== s && o.kind === s.kind);
  const waits = locks.get(s.lock).filter(o => o.kind === WAIT && o.track === s.track && o.until <= s.begin);
  list([
    ["buffer", tracks[s.track].name],
    ["set", data.sets[s.set] || "(without a name)"],
    ["access", ACCESS[s.mode]],
    ["what", ["held", "waited in the queue", "granted, waited for devices"][s.kind]],
    ["from", (s.before ? "before " : "") + moment(s.begin)],
    ["to", moment(s.until)],
    ["lasted", duration(s.until - s.begin)],
    ["waited", ...(s.kind === HOLD ? [s.waited ? duration(s.waited) : "not at all"] : []),
      ...(s.kind === HOLD && waits.length ? [", for ", ...links(waits.flatMap(blockers), nameOf)] : [])],
    ["waits for", ...(s.kind === WAIT ? links(blockers(s), o => nameOf(o) + " (" + ACCESS[o.mode] + ")") : [])],
    ["ended by", ENDS[s.end] + (s.why ? ": " + data.whys[s.why] : "")],
    ["thread", threadOf(s.beginThread)],
    ["ended on", s.end > 1 && s.endThread !== s.beginThread ? threadOf(s.endThread) : ""],
    ["device", s.lent >= 0 ? "since " + moment(s.lent) : ""],
    ["with", ...links(sameKind, o => tracks[o.track].name)],
  ]);
  draw();
}
function describeMany(rect) {
  const s = slices[+rect.dataset.i];
  list([["buffer", tracks[s.track].name], ["here", rect.dataset.n + " slices, too short to be told apart"],
    ["look", Object.assign(document.createElement("button"), {textContent: "zoom in", onclick: () => {
      const width = Math.max(+rect.dataset.until - s.begin, 10);
      show(s.begin - width, +rect.dataset.until + width);
    }})]]);
}
function describeMark(m) {
  chosen = null;
  list([["buffer", tracks[m.track].name], ["what", m.kind], ["set", data.sets[m.set] || "(without a name)"],
    ["access", ACCESS[m.mode]], ["at", moment(m.time)], ["why", m.why ? data.whys[m.why] : ""],
    ["thread", threadOf(m.thread)]]);
  draw();
}

// ---- mouse, keys, buttons ----------------------------------------------------------------------------------------------

const timeAt = e => view.from +
  (e.clientX - chart.getBoundingClientRect().left - LEFT) / (main.clientWidth - LEFT) * (view.to - view.from);
main.addEventListener("wheel", e => {
  if (e.clientX - chart.getBoundingClientRect().left < LEFT) return;
  e.preventDefault();
  if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) move((e.deltaX || e.deltaY) / 1000);
  else zoom(1.0015 ** e.deltaY, timeAt(e));
}, {passive: false});
let drag = null;
main.addEventListener("pointerdown", e => {
  if (e.button !== 0) return;
  drag = {x: e.clientX, y: e.clientY, from: view.from, to: view.to, top: main.scrollTop, at: timeAt(e), moved: false,
    marks: e.shiftKey || axisElement.contains(e.target)};
});
addEventListener("pointermove", e => {
  if (!drag) return;
  if (Math.abs(e.clientX - drag.x) + Math.abs(e.clientY - drag.y) > 4) drag.moved = true;
  if (!drag.moved || drag.marks) return;
  const by = (e.clientX - drag.x) / (main.clientWidth - LEFT) * (drag.to - drag.from);
  main.scrollTop = drag.top - (e.clientY - drag.y);
  show(drag.from - by, drag.to - by);
});
addEventListener("pointerup", e => {
  const ended = drag;
  drag = null;
  if (!ended || !ended.moved) return;
  if (ended.marks) show(Math.min(ended.at, timeAt(e)), Math.max(ended.at, timeAt(e)));
  addEventListener("click", c => c.stopPropagation(), {capture: true, once: true});
  setTimeout(() => dispatchEvent(new Event("click")), 0); // so that the next real click is heard
});
chart.addEventListener("click", e => {
  const mark = e.target.closest("[data-m]"), slice = e.target.closest("[data-i]");
  if (mark) describeMark(marks[+mark.dataset.m]);
  else if (slice && +slice.dataset.n > 1) describeMany(slice);
  else if (slice) choose(+slice.dataset.i);
});
const actions = {"zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), left: () => move(-0.25), right: () => move(0.25),
  fit: () => show(all.from, all.to), save};
for (const [id, act] of Object.entries(actions)) document.getElementById(id).addEventListener("click", act);
const keys = {"+": "zoom-in", "=": "zoom-in", "-": "zoom-out", ArrowLeft: "left", ArrowRight: "right", 0: "fit"};
addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
  e.preventDefault();
  actions[keys[e.key]]();
});
addEventListener("resize", () => show(view.from, view.to));

// ---- pictures ----------------------------------------------------------------------------------------------------------

/// What is between two times, as a picture that needs nothing else.
function picture(from = view.from, to = view.to, width = 1100) {
  const v = viewFor(width, from, to);
  let at = 10;
  const legend = legendItems().map(([s, text]) => {
    const w = +/width="(\d+)"/.exec(s)[1];
    const label = `<text class="dim" x="${at + w + 4}" y="15">${escaped(text)}</text>`;
    const item = s.replace("<svg", `<svg x="${at}" y="5"`) + label;
    at += w + 4 + widthOf(text, 12) + 14;
    return item;
  });
  const total = 24 + AXIS + height + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" class="tl"
 width="${width}" height="${total}" viewBox="0 0 ${width} ${total}"><title>${escaped(data.title)}</title>
<style>${document.getElementById("style").textContent}</style>
<rect class="paper" width="${width}" height="${total}"/>${legend.join("")}
<svg y="24" width="${width}" height="${AXIS}">${drawAxis(v, width, AXIS).labels}
<rect class="paper" width="${LEFT - 2}" height="${AXIS}"/></svg>
<svg y="${24 + AXIS}" width="${width}" height="${height}">
${chartText(v, width)}
</svg></svg>
`;
}
function save() {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(new Blob([picture()], {type: "image/svg+xml"}));
  a.download = "timeline.svg";
  a.click();
  URL.revokeObjectURL(a.href);
}

/// #FROM-TO in milliseconds: where to begin to look.
const asked = /^#(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(location.hash);
if (asked) [view.from, view.to] = [asked[1] * 1e6, asked[2] * 1e6];
window.timeline = {picture, show, choose, slices, marks, tracks};
draw();
})();
)js";

} // namespace dmasync::inline DMASYNC_ABI::detail
