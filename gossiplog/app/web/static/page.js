"use strict";
// The page of one node: what its feed says, shown; what its owner wants, asked for.  Whatever others wrote is put here
// as text (textContent), never as markup.

const at = (id) => document.getElementById(id);
const count = (number) => Number(number).toLocaleString("en");
const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more || `${one}s`}`;
const short = (key) => key.includes("_") ? key.slice(key.indexOf("_") + 1, key.indexOf("_") + 9) : key.slice(0, 8);
const MOST_ENTRIES = 100;
const LOGS_AT_ONCE = 25;
const kept = `token ${location.pathname}`;  // there may be other nodes beside this one, with tokens of their own

function make(name, text, type) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (type) made.className = type;
  return made;
}

function bytes(size) {
  if (size < 1000) return `${count(size)} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  do { size /= 1000; unit += 1; } while (size >= 1000 && unit < units.length - 1);
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function figures(id, pairs) {
  // Changed where it changed, so that who reads with a keyboard or a screen reader stays where they are.
  const list = at(id);
  pairs.forEach(([name, value, type], place) => {
    let item = list.children[place];
    if (!item) {
      item = make("div");
      item.append(make("dt"), make("dd"));
      list.append(item);
    }
    if (item.children[0].textContent !== name) item.children[0].textContent = name;
    if (item.children[1].textContent !== value) item.children[1].textContent = value;
    item.children[1].className = type || "";
    item.className = value.length > 24 ? "long" : "";
  });
  while (list.children.length > pairs.length) list.lastChild.remove();
}

function rows(id, wanted, none) {
  // Each wanted row is a list of [text, class] or of elements.  Whoever is at a button stays at it, or
  // comes to the title when it is gone.
  const { id: focused } = document.activeElement;
  fillRows(at(id), wanted, none);
  if (focused && document.activeElement === document.body) {
    (at(focused) || at(id).closest("section").querySelector("h2")).focus({ preventScroll: true });
  }
}

function fillRows(body, wanted, none) {
  if (!wanted.length && none) {
    const cell = make("td", none);
    cell.colSpan = body.parentNode.tHead.rows[0].cells.length;
    const row = make("tr");
    row.append(cell);
    body.replaceChildren(row);
    return;
  }
  wanted.forEach((cells, place) => {
    let row = body.children[place];
    if (!row || row.children.length !== cells.length) {
      const made = make("tr");
      cells.forEach((_, column) => {
        const cell = make(column ? "td" : "th");
        if (!column) cell.scope = "row";
        made.append(cell);
      });
      if (row) row.replaceWith(made); else body.append(made);
      row = made;
    }
    cells.forEach((value, column) => {
      const cell = row.children[column];
      if (value instanceof Node) {
        if (cell.dataset.of !== value.dataset.of) { cell.replaceChildren(value); cell.dataset.of = value.dataset.of; }
      } else {
        if (cell.textContent !== value[0]) cell.textContent = value[0];
        cell.className = value[1] || "";
        if (value[2]) cell.title = value[2];
      }
    });
  });
  while (body.children.length > wanted.length) body.lastChild.remove();
}

function buttons(of, acts, run) {
  // A cell of buttons about one key; each has an id, by which it is found again.
  const cell = make("span");
  cell.dataset.of = `${of} ${acts}`;
  for (const act of acts) {
    const button = make("button", act);
    button.type = "button";
    button.id = `${act}-${of}`;
    button.setAttribute("aria-label", `${act} ${short(of)}`);
    button.addEventListener("click", () => run(act, of));
    cell.append(button, " ");
  }
  return cell;
}

// -- what the node says

let held = -1;

function show(status) {
  if (status.entries !== held) { held = status.entries; askLogs(); }
  at("node").textContent = short(status.node);
  at("node").title = status.node;
  const known = status.entries + status.to_come;
  const share = known ? status.entries / known : 1;
  at("progress").value = share;
  at("progress-words").textContent = status.to_come
    ? `${Math.floor(share * 100)} %: ${count(status.to_come)} entries to come, ${count(Math.round(status.rate))}/s`
    : status.caught_up ? "all that peers told of is here" : "nothing is known to come";
  figures("figures", [
    ["Peers", count(status.peer_count)],
    ["Logs", count(status.log_count)],
    ["Entries", count(status.entries)],
    ["To come", count(status.to_come)],
    ["To send", count(status.to_send)],
    ["Up", duration(status.up_seconds)],
    ["Listening", status.listening.join(" ") || "nowhere"],
    ["Store", status.copied ? `a copy: ${status.copied}` : status.store, status.copied ? "bad" : ""],
    ["Writers", status.locked ? "locked: they wait for a passphrase" : "sign", status.locked ? "bad" : ""],
    ["Commits", count(status.commits.count)],
    ["Last commit", `${(status.commits.last_seconds * 1000).toFixed(1)} ms`],
    ["Waiting", `${count(status.queues.jobs)} jobs, ${count(status.queues.messages)} messages`],
    ["Memory of peers", `${bytes(status.queues.memory_bytes)} of ${bytes(status.queues.max_memory_bytes)}`],
  ]);
  rows("peers", status.peers.map((peer) => [
    [short(peer.id), "key", peer.id],
    [peer.address, "address", peer.address],
    [peer.mode === "both" ? peer.agent : `${peer.agent} (only ${peer.mode}s)`, "address", peer.agent],
    [count(peer.entries_to_come), "number"],
    [count(peer.entries_to_send), "number"],
    [bytes(peer.bytes_in), "number"],
    [bytes(peer.bytes_out), "number"],
    [duration(peer.up_seconds), "number"],
    buttons(peer.id, ["disconnect", "ban"], actOnNode),
  ]), "no peer is connected");
  const left = status.peer_count - status.peers.length;
  at("peers-more").textContent = left > 0 ? `and ${count(left)} more peers` : "";
  figures("disk", [
    ["Logs", bytes(status.disk.logs)],
    ["Journal", bytes(status.disk.journal)],
    ["Views", bytes(status.disk.views)],
    ["Other files", bytes(status.disk.other)],
    ["Free", bytes(status.disk.free)],
  ]);
  figures("quotas", Object.entries(status.quotas).map(([name, [used, most]]) =>
    quota(name, used, most))
    .concat([["Authors over a quota", count(status.over_quota_count)]]));
  list("forks", status.forks.map((author) => [short(author), "signed two logs; nothing more is taken"]),
    status.fork_count, "no author has forked");
  rows("bans", status.bans.map((ban) => [
    [short(ban.peer), "key", ban.peer],
    [ban.seconds === null ? "this node stops" : `${duration(ban.seconds)} from now`],
    [ban.reason, "address", ban.reason],
    buttons(ban.peer, ["unban"], actOnNode),
  ]), "nobody is kept out");
  const kept = status.ban_count - status.bans.length;
  at("bans-more").textContent = kept > 0 ? `and ${count(kept)} more` : "";
  map(status);
}

function quota(name, used, most) {
  const size = name.startsWith("bytes") ? bytes : count;
  const label = name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
  return [label, most === null ? "no bound" : used === null ? size(most) : `${size(used)} of ${size(most)}`];
}

function list(id, items, total, none) {
  const made = items.map(([key, words]) => {
    const item = make("li");
    item.append(make("span", key, "key"), ` ${words}`);
    return item;
  });
  if (!total) made.push(make("li", none));
  if (total > items.length) made.push(make("li", `and ${count(total - items.length)} more`));
  at(id).replaceChildren(...made);
}

function map(status) {
  const svg = at("map");
  const draw = (name, set, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(set)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const peers = status.peers.slice(0, 40);
  const drawn = [];
  const spots = peers.map((peer, place) => {
    const angle = (2 * Math.PI * place) / peers.length - Math.PI / 2;
    return [200 + 140 * Math.cos(angle), 150 + 115 * Math.sin(angle)];
  });
  peers.forEach((peer, place) => {
    const [x, y] = spots[place];
    const behind = peer.entries_to_come || peer.entries_to_send ? "behind" : "";
    drawn.push(draw("line", { x1: 200, y1: 150, x2: x, y2: y, class: behind }));
  });
  drawn.push(draw("circle", { cx: 200, cy: 150, r: 9, class: "self" }));
  peers.forEach((peer, place) => {
    const [x, y] = spots[place];
    drawn.push(draw("circle", { cx: x, cy: y, r: 5 }));
    if (peers.length <= 20) drawn.push(draw("text", { x, y: y + (y < 150 ? -9 : 16), "text-anchor": "middle" }, short(peer.id)));
  });
  svg.replaceChildren(...drawn);
  const behind = status.peers.filter((peer) => peer.entries_to_come || peer.entries_to_send).length;
  const dialled = status.dial_count - status.connected_count;
  at("map-words").textContent = `This node and ${many(status.peer_count, "peer")}, ${count(behind)} behind or ahead (dashed); ` +
    `${many(dialled, "address", "addresses")} without an answer.`;
}

// -- growth

const charts = [];
const lines = { time: [], entries: [], in: [], out: [] };

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function chart(id, series, value) {
  const place = at(id);
  const axis = (more) => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ...more });
  const drawn = new uPlot({
    width: place.clientWidth || 320, height: 180, legend: { show: false }, cursor: { show: false },
    axes: [axis(), axis({ size: 60, values: (_, ticks) => ticks.map(value) })],
    scales: { y: { range: (_, low, high) => [low, high > low ? high : low + 1] } },
    series: [{}, ...series.map((name, place) => ({ stroke: colour(name), width: 2, dash: place ? [6, 4] : [] }))],
  }, [[], ...series.map(() => [])], place);
  charts.push([drawn, place]);
  return drawn;
}

let ofEntries, ofBytes;
function charted() {
  for (const [drawn] of charts.splice(0)) drawn.destroy();
  ofEntries = chart("chart-entries", ["--mark"], count);
  ofBytes = chart("chart-bytes", ["--good", "--busy"], bytes);
  drawLines();
}

function drawLines() {
  ofEntries.setData([lines.time, lines.entries]);
  ofBytes.setData([lines.time, lines.in, lines.out]);
  if (lines.time.length) {
    const last = lines.time.length - 1;
    at("growth-words").textContent = `${count(lines.entries[last] - lines.entries[0])} entries more in ` +
      `${duration(lines.time[last] - lines.time[0])}; now ${bytes(lines.in[last])}/s in and ${bytes(lines.out[last])}/s out.`;
  }
}

function grew(points) {
  for (const [time, entries, bytesIn, bytesOut] of points) {
    lines.time.push(time); lines.entries.push(entries); lines.in.push(bytesIn); lines.out.push(bytesOut);
  }
  for (const line of Object.values(lines)) if (line.length > 720) line.splice(0, line.length - 720);
  drawLines();
}

// -- logs

let logsFrom = 0;
let asked = 0;

async function askLogs() {
  const mine = ++asked;
  const query = new URLSearchParams({
    begins: at("logs-search").value.trim(), sort: at("logs-sort").value, from: logsFrom, limit: LOGS_AT_ONCE,
  });
  let said;
  try { said = await (await fetch(`logs?${query}`)).json(); } catch { return; }
  if (mine !== asked) return;
  if (said.error) { at("logs-words").textContent = said.error; return; }
  rows("logs", said.logs.map((log) => {
    const acts = buttons(log.author, log.local ? [] : log.blocked ? ["unblock"] : ["follow", "block"],
      (act, author) => ask(act, { author }));
    const state = [log.local && "written here", log.forked && "forked", log.blocked && "blocked",
      log.over_quota && `over the quota ${log.over_quota}`].filter(Boolean).join(", ");
    return [[short(log.author), "key", log.author], [count(log.entries), "number"], [`+${count(log.growth)}`, "number"],
      [bytes(log.bytes), "number"], [state, log.forked || log.over_quota ? "bad" : ""], acts];
  }), "no log");
  const last = Math.min(logsFrom + LOGS_AT_ONCE, said.total);
  at("logs-words").textContent = said.total ? `${count(logsFrom + 1)} to ${count(last)} of ${count(said.total)}` : "none";
  at("logs-back").disabled = logsFrom === 0;
  at("logs-on").disabled = last >= said.total;
}

function turn(by) { logsFrom = Math.max(0, logsFrom + by); askLogs(); }

// -- entries

// Newest first; of what comes faster than one can read, some.
let paused = false;
let missed = 0;

function entered(entries, more) {
  missed += more;
  if (paused) missed += entries.length;
  const place = at("entries");
  for (const entry of paused ? [] : entries) {
    const item = make("div", undefined, "entry");
    item.append(make("div", `${short(entry.author)} ${count(entry.seq)}  ${entry.time}`, "about"));
    item.append(make("div", entry.text, entry.kind === "text" ? "text" : "binary"));
    place.prepend(item);
  }
  while (place.children.length > MOST_ENTRIES) place.lastChild.remove();
  at("entries-more").textContent = missed ? `${count(missed)} more were not shown` : place.children.length ? "" : "entries are shown as they come";
}

// -- acting

async function ask(act, what) {
  const token = sessionStorage.getItem(kept) || "";
  let words;
  if (!token) {
    words = "the token is needed first";
    at("token").focus();
  } else {
    try {
      const answer = await fetch(`act/${act}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Gossiplog-Token": token },
        body: JSON.stringify(what),
      });
      const said = await answer.json();
      words = answer.ok ? `${act}: ${said.done}` : said.error;
      at("said").className = answer.ok ? "good" : "bad";
    } catch { words = "the node does not answer"; }
  }
  at("said").textContent = words;
  askLogs();
  return words;
}

// What ends something is asked for twice.
let wanted;
function actOnNode(act, node) {
  if (act === "unban") { ask(act, { node }); return; }
  wanted = { act, node };
  at("sure-words").textContent = act === "ban"
    ? `Ban node ${short(node)}? Its sessions end, and it cannot come back.`
    : `Disconnect node ${short(node)}? What led to it is dialled no more, but it may come back.`;
  at("sure-long").hidden = act !== "ban";
  at("sure-yes").textContent = act === "ban" ? "Ban" : "Disconnect";
  at("sure").returnValue = "no";
  at("sure").showModal();
}

at("sure").addEventListener("close", () => {
  if (at("sure").returnValue !== "yes") return;
  const { act, node } = wanted;
  const seconds = act === "ban" && at("sure-seconds").value;
  ask(act, seconds ? { node, seconds: Number(seconds) } : { node });
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.id === "token-form") {
    sessionStorage.setItem(kept, at("token").value.trim());
    at("token").value = "";
    at("said").textContent = "the token is used in this tab";
  } else if (form.id === "logs-form") {
    turn(-logsFrom);
  } else if (form.id === "sure-form") {
    at("sure").close(event.submitter.value);
  } else if (form.dataset.act === "node") {
    actOnNode(event.submitter.value, at("of-node").value.trim());
  } else {
    const what = Object.fromEntries(new FormData(form));
    ask(form.dataset.act === "author" ? event.submitter.value : form.dataset.act, what).then(() => {
      if (form.dataset.act === "append" && at("said").className === "good") form.reset();
    });
  }
});
let typed;
at("logs-search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(turn, 300, -logsFrom); });
at("logs-sort").addEventListener("change", () => turn(-logsFrom));
at("logs-back").addEventListener("click", () => turn(-LOGS_AT_ONCE));
at("logs-on").addEventListener("click", () => turn(LOGS_AT_ONCE));
at("entries-pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
});

// -- the feed

const feed = new EventSource("feed");
const say = (words, type) => { at("connection").textContent = words; at("connection").className = type; };
feed.addEventListener("open", () => { say("connected", "good"); askLogs(); });
feed.addEventListener("error", () => say("the node does not answer; trying again", "bad"));
feed.addEventListener("status", (event) => show(JSON.parse(event.data)));
feed.addEventListener("growth", (event) => grew(JSON.parse(event.data)));
feed.addEventListener("begin", (event) => {
  for (const line of Object.values(lines)) line.length = 0;
  at("entries").replaceChildren();
  grew(JSON.parse(event.data));
});
feed.addEventListener("entries", (event) => {
  const said = JSON.parse(event.data);
  entered(said.entries, said.more);
});
setInterval(() => { if (document.visibilityState === "visible") askLogs(); }, 5000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", charted);
new ResizeObserver(() => {
  for (const [drawn, place] of charts) drawn.setSize({ width: place.clientWidth || 320, height: 180 });
}).observe(at("chart-entries"));
if (location.hash.startsWith("#token=")) {
  sessionStorage.setItem(kept, location.hash.slice(7));
  history.replaceState(null, "", location.pathname);
}
charted();
