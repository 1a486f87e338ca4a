// The search page: a client of the API. The address determines what the page shows.

import { languages } from "./words.js";

const STEP = 24; // hits per request
const MOST = 96;

const element = (id) => document.getElementById(id);
const [form, box, fileInput, grid, notice, more, player, stage] = [
  "form", "q", "file", "results", "notice", "more", "player", "stage",
].map(element);

const files = new Map(); // uploaded files, by the number in the history entry
let words = languages.en;
let index = null;
let hits = [];
let boxed = ""; // the text last written to the search box
let shown = null; // the query of the hits on the page, as text
let running = null; // the AbortController of the running search
let asking = null; // the promise of the running search
let message = null; // draws the notice; called again when the language changes


// ─── the address ─────────────────────────────────────────────────────────────────────────────────────────

function readAddress() {
  const given = new URLSearchParams(location.search);
  return {
    q: (given.get("q") ?? "").trim(),
    similar: given.get("similar"),
    segment: Number(given.get("segment")) || 0,
    file: history.state?.file ?? null,
    k: Math.min(Math.max(Number(given.get("k")) || STEP, 1), MOST),
    video: given.get("video"),
    at: Number(given.get("at")) || 0,
  };
}

function address({ q, similar, segment, k, video, at }) {
  const parts = new URLSearchParams();
  if (q) parts.set("q", q);
  if (similar) {
    parts.set("similar", similar);
    parts.set("segment", segment);
  }
  if (k && k !== STEP) parts.set("k", k);
  if (video) {
    parts.set("video", video);
    parts.set("at", at);
  }
  return parts.size ? `?${parts}` : "./";
}

function go(state, { replace = false, opened = replace && history.state?.opened } = {}) {
  const kept = { file: state.file, opened };
  history[replace ? "replaceState" : "pushState"](kept, "", address(state));
  if (!replace && !state.video) scrollTo(0, 0);
  show();
}

function show() {
  const state = readAddress();
  const query = JSON.stringify([state.q, state.similar, state.segment, state.file]);
  document.title = state.q ? `${state.q} · mlcmr` : "mlcmr";
  if (query !== shown || state.k > hits.length) asking = ask(state, query);
  state.video ? openPlayer(state) : closePlayer();
}


// ─── requests ──────────────────────────────────────────────────────────────────────────────────────────────

class Failure extends Error {
  constructor(status, text) {
    super(text);
    this.status = status; // 0: no response
  }
}

// Addresses in responses begin at the root of the server; the page may lie below a path of another web server.
const fromHere = (key, value) => (value && (key === "media" || key === "thumbnail") ? value.slice(1) : value);
const inAddress = (video) => video.split("/").map(encodeURIComponent).join("/");

async function fetchJson(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "");
  }
  if (response.ok) return JSON.parse(await response.text(), fromHere);
  const text = await response.json().then((body) => body.error, () => response.statusText);
  throw new Failure(response.status, text);
}

async function ask(state, query) {
  running?.abort();
  const isMore = query === shown;
  if (state.q !== boxed) box.value = boxed = state.q; // do not overwrite what the user types
  showAsked(state);
  if (!state.q && !state.similar && !state.file) {
    shown = query;
    hits = [];
    drawHits();
    welcome();
    return;
  }
  if (isMore && hits.length < Math.min(state.k, MOST) && more.hidden) return; // there are no more hits
  const file = files.get(state.file);
  if (state.file && !file) {
    shown = query;
    hits = [];
    drawHits();
    say("lostFile", words.lostFileMore);
    return;
  }
  const control = (running = new AbortController());
  waiting(file ? "receiving" : "searching", isMore);
  try {
    const answer = await answerOf(state, file, control.signal);
    if (control !== running) return;
    shown = query;
    hits = answer.hits;
    if (hits.length) clearNotice();
    else say("nothing", () => words.nothingMore);
    drawHits(isMore);
    status(() => words.found(hits.length, Math.max(1, Math.round(answer.milliseconds))));
    more.hidden = hits.length < state.k || state.k >= MOST;
  } catch (error) {
    if (error.name === "AbortError" || control !== running) return;
    shown = null;
    hits = [];
    drawHits();
    failed(error);
  } finally {
    if (control === running) grid.removeAttribute("aria-busy");
  }
}

function answerOf({ q, similar, segment, k }, file, signal) {
  if (file) {
    if (index && file.size > index.largest_upload) throw new Failure(413, "");
    const body = new FormData();
    body.append("file", file);
    return fetchJson(`api/search?k=${k}`, { method: "POST", body, signal });
  }
  if (similar) {
    return fetchJson(`api/similar/${inAddress(similar)}?segment=${segment}&k=${k}`, { signal });
  }
  return fetchJson(`api/search?${new URLSearchParams({ q, k })}`, { signal });
}


// ─── messages ────────────────────────────────────────────────────────────────────────────────────────

let statusText = () => "";

// With `unseen` the text is for screen readers only: the notice shows the same text.
function status(text, { unseen = false } = {}) {
  statusText = text;
  element("status").textContent = text();
  element("status").classList.toggle("unseen", unseen);
}

function say(title, text, actions = () => []) {
  message = () => {
    const heading = document.createElement("h2");
    heading.textContent = words[title];
    const line = document.createElement("p");
    line.textContent = typeof text === "function" ? text() : text;
    notice.replaceChildren(heading, line, ...actions());
  };
  message();
  notice.hidden = false;
  status(() => (title === "welcome" ? "" : words[title]), { unseen: true });
}

function clearNotice() {
  message = null;
  notice.hidden = true;
}

function failed({ status: code, message: text }) {
  if (code === 401) {
    clearNotice();
    enter();
    return;
  }
  const again = () => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.again;
    button.addEventListener("click", () => (index ? show() : start()));
    return [button];
  };
  if (code === undefined || code === 0) say("gone", () => words.goneMore, again);
  else if (code === 503 && text.startsWith("the index")) say("unavailable", () => words.unavailableMore, again);
  else if (code === 429 || code === 503) say("busy", () => words.busyMore, again);
  else if (code === 404) say("missing", () => words.missingMore);
  else if (code === 413) say("tooLarge", () => words.tooLargeMore(Math.round((index?.largest_upload ?? 0) / 1e6)));
  else if (code === 415 || (code === 422 && readAddress().file)) say("noMedia", () => words.noMediaMore);
  else say("failed", text, again);
}

function welcome() {
  say("welcome", () => words.welcomeMore, () => {
    if (!index?.examples.length) return [];
    const heading = document.createElement("h3");
    heading.textContent = words.tryThese;
    const list = document.createElement("ul");
    list.className = "examples";
    for (const { text, language } of index.examples) {
      const link = document.createElement("a");
      link.href = address({ q: text });
      link.lang = language;
      link.textContent = text;
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey) return;
        event.preventDefault();
        go({ q: text });
      });
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
    }
    return [heading, list];
  });
}

function waiting(what, isMore) {
  status(() => words[what]);
  grid.setAttribute("aria-busy", "true");
  if (isMore || hits.length) return; // old hits stay, dimmed, so that nothing moves
  clearNotice();
  more.hidden = true;
  // One row only: the height of hits depends on their captions, and content below would move.
  grid.replaceChildren(...Array.from({ length: columns() }, () => {
    const card = element("card").content.firstElementChild.cloneNode(true);
    card.className = "waiting";
    card.setAttribute("aria-hidden", "true");
    card.querySelectorAll("button, .time").forEach((part) => part.remove());
    return card;
  }));
}

function showAsked({ similar, segment, file }) {
  const asked = element("asked");
  const picture = files.get(file);
  asked.hidden = !similar && !picture;
  element("preview").replaceChildren();
  if (asked.hidden) return;
  let preview;
  if (picture) {
    preview = document.createElement(picture.type.startsWith("video/") ? "video" : "img");
    picture.address ??= URL.createObjectURL(picture);
    preview.src = picture.address;
    preview.muted = true;
  } else {
    preview = document.createElement("img");
    preview.src = `thumbnails/${inAddress(similar)}/${segment}`;
  }
  if (preview instanceof HTMLImageElement) preview.alt = "";
  preview.addEventListener("error", () => (element("preview").hidden = true));
  element("preview").hidden = false;
  element("preview").append(preview);
  element("asked-text").textContent = words.similarTo(picture ? picture.name : similar);
}


// ─── hits ────────────────────────────────────────────────────────────────────────────────────────────────

const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;

function drawHits(keep = false) {
  stopPreview();
  const before = keep ? grid.children.length : 0;
  const cards = hits.slice(before).map(card);
  keep ? grid.append(...cards) : grid.replaceChildren(...cards);
  if (!hits.length) more.hidden = true;
}

function card(hit) {
  const item = element("card").content.firstElementChild.cloneNode(true);
  const part = (selector) => item.querySelector(selector);
  const name = nameOf(hit.path) || hit.video;
  const what = hit.caption || name;
  const open = part(".open");
  const image = part("img");
  image.alt = what;
  image.addEventListener("error", () => image.classList.add("broken"));
  if (hit.thumbnail || (hit.media && isPicture(hit))) image.src = hit.thumbnail ?? hit.media;
  else image.replaceWith(...still(hit));
  open.append(...fill(hit));
  open.setAttribute("aria-label", hit.kind === "image"
    ? words.show(what, score(hit)) : words.play(what, span(hit), score(hit)));
  open.addEventListener("click", () => go({ ...readAddress(), video: hit.video, at: hit.segment }, { opened: true }));
  open.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && preview(open, hit));
  open.addEventListener("pointerleave", stopPreview);
  open.addEventListener("focus", () => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (open.matches(":focus-visible") && !calm) preview(open, hit);
  });
  open.addEventListener("blur", stopPreview);
  const time = part(".time");
  hit.kind === "image" || !hit.duration ? time.remove() : (time.textContent = span(hit));
  const similar = part(".similar");
  similar.title = words.similar;
  similar.setAttribute("aria-label", `${words.similar}: ${what}`);
  similar.addEventListener("click", () => go({ similar: hit.video, segment: hit.segment }));
  part(".caption").textContent = hit.caption;
  part(".path").textContent = name;
  part(".path").title = hit.path || hit.video;
  part(".score").textContent = score(hit);
  part(".score").title = words.scoreTitle;
  return item;
}

// A GIF is indexed as a video, but <video> cannot play it. The extension of a file may be wrong.
const misnamed = new Set();
const isPicture = ({ kind, media, media_type }) =>
  kind === "image" || (media_type ?? "").startsWith("image/") !== misnamed.has(media);

// Without a thumbnail, show the first frame of the hit.
function still({ media, start }) {
  if (!media) return [];
  const video = document.createElement("video");
  video.className = "still";
  video.muted = true;
  video.preload = "metadata";
  video.tabIndex = -1;
  video.src = `${media}#t=${start + 0.001}`;
  video.addEventListener("error", () => video.remove());
  return [video];
}

// A picture that does not fill its frame is shown on a blurred copy of itself.
function fill(hit) {
  const ratio = hit.width / hit.height;
  if (!hit.thumbnail || Math.abs(ratio / (4 / 3) - 1) < 0.04) return [];
  const copy = new Image();
  copy.src = hit.thumbnail;
  copy.alt = "";
  copy.className = "fill";
  return [copy];
}

const score = (hit) => hit.score.toFixed(2).replace("-0.00", "0.00");
const nameOf = (path) => path.split(/[/\\]/).pop();
const span = ({ start, end }) => `${clock(start)}–${clock(end)}`;

function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

let previewed = null;
let previewTimer = 0;

function preview(open, hit) {
  stopPreview();
  if (hit.kind !== "video" || !hit.media) return;
  previewTimer = setTimeout(() => {
    if (isPicture(hit)) {
      const image = new Image();
      image.alt = "";
      image.addEventListener("error", stopPreview);
      image.src = hit.media;
      previewed = image;
      open.append(image);
      return;
    }
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.disablePictureInPicture = true;
    video.tabIndex = -1;
    const end = hit.end > hit.start ? hit.end : Infinity;
    video.addEventListener("loadedmetadata", () => (video.currentTime = hit.start));
    video.addEventListener("playing", () => video.classList.add("plays"));
    const repeat = () => {
      if (!video.ended && video.currentTime < end - 0.04) return;
      video.currentTime = hit.start;
      video.play().catch(() => {});
    };
    video.addEventListener("timeupdate", repeat);
    video.addEventListener("ended", repeat);
    video.addEventListener("error", stopPreview);
    video.src = `${hit.media}#t=${hit.start}`;
    previewed = video;
    open.append(video);
    video.play().catch(() => {});
  }, 120);
}

function stopPreview() {
  clearTimeout(previewTimer);
  if (!previewed) return;
  const old = previewed;
  previewed = null;
  old.remove();
  old.removeAttribute("src");
  old.load?.(); // closes the connection
}


// ─── the player ──────────────────────────────────────────────────────────────────────────────────────────

let playing = null; // "video/segment"
let opener = null; // the element that had the focus before

async function openPlayer({ video, at }) {
  const key = `${video}/${at}`;
  if (player.open && playing === key) return;
  const sameVideo = player.open && playing?.startsWith(`${video}/`) && stage.dataset.video === video;
  playing = key;
  stopPreview();
  const known = hits.find((hit) => hit.video === video && hit.segment === at);
  if (sameVideo) {
    markSegment(at);
    return;
  }
  element("segments").replaceChildren();
  if (!player.open) {
    opener = document.activeElement;
    player.showModal();
  }
  if (known) drawPlayer(known, known);
  try {
    const answer = await fetchJson(`api/videos/${inAddress(video)}`);
    if (playing !== key) return;
    const segment = answer.segments.find((one) => one.segment === at) ?? answer.segments[0];
    const own = answer.captions.find((one) => one.video === video);
    if (!known) drawPlayer({ ...answer, caption: own?.text ?? "" }, segment);
    drawSegments(answer, at);
  } catch (error) {
    if (playing !== key || known) return;
    // Change the address first, so that closing changes no history and does not draw over the message.
    history.replaceState({ file: history.state?.file }, "", address({ ...readAddress(), video: null }));
    closePlayer();
    const search = asking;
    await search;
    if (search === asking) failed(error);
  }
}

function drawPlayer(about, segment) {
  const name = nameOf(about.path) || about.video;
  element("player-caption").textContent = about.caption || name;
  element("player-path").textContent = about.path || about.video;
  const file = element("player-file");
  file.hidden = !about.media;
  if (about.media) file.href = about.media;
  element("player-similar").onclick = () => {
    const at = Number(playing.slice(playing.lastIndexOf("/") + 1));
    go({ similar: about.video, segment: at });
  };
  stage.dataset.video = about.video;
  const tryOther = ({ target }) => {
    if (!target.isConnected) return; // the page shows another video now
    if (about.kind === "video" && about.media && !misnamed.delete(about.media)) {
      misnamed.add(about.media);
      drawPlayer(about, segment);
    } else unplayable(segment);
  };
  stage.style.setProperty("--ratio", about.width && about.height ? `${about.width} / ${about.height}` : "16 / 9");
  if (isPicture(about) || !about.media) {
    const image = new Image();
    image.alt = about.caption || name;
    image.src = about.media ?? segment.thumbnail ?? "";
    image.addEventListener("error", tryOther, { once: true });
    stage.replaceChildren(image);
    return;
  }
  const video = document.createElement("video");
  video.controls = true;
  video.autoplay = true;
  video.playsInline = true;
  if (segment.thumbnail) video.poster = segment.thumbnail;
  video.addEventListener("loadedmetadata", () => (video.currentTime = segment.start), { once: true });
  video.addEventListener("error", tryOther, { once: true });
  video.src = `${about.media}#t=${segment.start}`;
  stage.replaceChildren(video);
  video.focus();
}

function unplayable(segment) {
  const text = document.createElement("p");
  text.textContent = words.unplayable;
  const parts = [text];
  if (segment.thumbnail) {
    const image = new Image();
    image.alt = "";
    image.src = segment.thumbnail;
    parts.unshift(image);
  }
  stage.replaceChildren(...parts);
}

function drawSegments(about, at) {
  const { segments, video } = about;
  const list = element("segments");
  list.replaceChildren();
  if (isPicture(about) || segments.length < 2) return;
  for (const segment of segments) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.segment = segment.segment;
    button.setAttribute("aria-label", words.from(clock(segment.start)));
    const image = new Image();
    image.alt = "";
    image.loading = "lazy";
    if (segment.thumbnail) image.src = segment.thumbnail;
    const time = document.createElement("span");
    time.textContent = clock(segment.start);
    button.append(image, time);
    button.addEventListener("click", () => {
      const moving = stage.querySelector("video");
      if (moving) {
        moving.currentTime = segment.start;
        moving.play().catch(() => {});
      }
      go({ ...readAddress(), video, at: segment.segment }, { replace: true });
    });
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }
  markSegment(at);
}

function markSegment(at) {
  for (const button of element("segments").querySelectorAll("button")) {
    const current = Number(button.dataset.segment) === at;
    button.setAttribute("aria-current", current);
    if (current) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function closePlayer() {
  playing = null;
  stage.querySelector("video")?.removeAttribute("src");
  stage.querySelector("video")?.load();
  stage.replaceChildren();
  if (player.open) player.close();
  // The dialog returns the focus itself, and the keyboard may have moved the focus since.
  if (opener?.isConnected && document.activeElement === document.body) opener.focus({ preventScroll: true });
  opener = null;
}

// Esc and the button act like the back button, so that going back does not reopen the player.
function leavePlayer() {
  if (!readAddress().video) return;
  if (history.state?.opened) history.back();
  else go({ ...readAddress(), video: null }, { replace: true });
}

player.addEventListener("close", leavePlayer);
element("player-close").addEventListener("click", leavePlayer);
player.addEventListener("click", (event) => event.target === player && leavePlayer());


// ─── files ───────────────────────────────────────────────────────────────────────────────────────────────

function askFile(file) {
  const number = Date.now();
  files.set(number, file);
  go({ file: number });
}

element("upload").addEventListener("click", () => fileInput.click());
fileInput.addEventListener("change", () => {
  if (fileInput.files[0]) askFile(fileInput.files[0]);
  fileInput.value = "";
});

let inside = 0; // the number of elements below the dragged file
const hasFile = (event) => event.dataTransfer?.types.includes("Files");
const dropping = (yes) => element("drop").classList.toggle("open", yes);
addEventListener("dragenter", (event) => hasFile(event) && dropping(++inside > 0));
addEventListener("dragleave", (event) => hasFile(event) && dropping(--inside > 0));
addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  inside = 0;
  dropping(false);
  if (event.dataTransfer.files[0]) askFile(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (!file) return;
  event.preventDefault();
  askFile(file);
});


// ─── keys and buttons ────────────────────────────────────────────────────────────────────────────────────

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const q = box.value.trim();
  if (!q) return;
  if (!matchMedia("(hover: hover)").matches) box.blur(); // hides the on-screen keyboard, which covers the hits
  go({ q });
});
element("forget").addEventListener("click", () => {
  go({});
  box.focus();
});
more.addEventListener("click", () => go({ ...readAddress(), k: Math.min(readAddress().k + STEP, MOST) }, { replace: true }));
document.querySelector("h1 a").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  go({});
  box.value = "";
  box.focus();
});

addEventListener("keydown", (event) => {
  if (event.isComposing) return; // these keys belong to the input method
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const focused = document.activeElement;
  if (event.key === "/" && !focused.matches("input")) {
    event.preventDefault();
    box.focus();
    box.select();
    return;
  }
  const opens = [...grid.querySelectorAll(".open")];
  if (!opens.length) return;
  if (focused === box) {
    if (event.key === "ArrowDown") focusOn(event, opens[0]);
    return;
  }
  const place = opens.indexOf(focused.closest("li")?.querySelector(".open"));
  if (place < 0) return;
  const forward = getComputedStyle(grid).direction === "rtl" ? -1 : 1;
  const [across, last] = [columns(), opens.length - 1];
  const target = {
    ArrowRight: place + forward,
    ArrowLeft: place - forward,
    ArrowDown: place + across > last && place < last - (last % across) ? last : place + across,
    ArrowUp: place - across,
    Home: 0,
    End: last,
  }[event.key];
  if (target === undefined) return;
  if (target < 0 && event.key === "ArrowUp") focusOn(event, box);
  else if (opens[target]) focusOn(event, opens[target]);
  else event.preventDefault();
});

function focusOn(event, target) {
  event.preventDefault();
  target.focus();
}


// ─── the token ───────────────────────────────────────────────────────────────────────────────────────────

function enter() {
  if (!element("entry").open) element("entry").showModal();
}

element("entry").addEventListener("cancel", (event) => event.preventDefault());
element("entry").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = element("entry-error");
  error.textContent = "";
  try {
    const token = element("token").value.trim();
    if (/[^\x21-\x7e]/.test(token)) throw new Failure(401, ""); // no header can hold such a token, so it is wrong
    const answer = await fetch("api/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    if (answer.status === 401) throw new Failure(401, "");
    if (!answer.ok) throw new Failure(answer.status, "");
    element("token").value = "";
    element("entry").close();
    start();
  } catch (failure) {
    error.textContent = { 401: words.wrongToken, 429: words.busy, 503: words.busy }[failure.status] ?? words.gone;
  }
});


// ─── the language of the interface ───────────────────────────────────────────────────────────────────────

function remembered() {
  try {
    return localStorage.getItem("language");
  } catch {
    return null;
  }
}

function speak(language) {
  words = languages[language];
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const part of document.querySelectorAll("[data-text]")) part.textContent = words[part.dataset.text];
  for (const part of document.querySelectorAll("[data-label]")) {
    part.setAttribute("aria-label", words[part.dataset.label]);
    if (part.matches("button")) part.title = words[part.dataset.label];
  }
  box.placeholder = words.placeholder;
  const other = element("language");
  other.textContent = words.other;
  other.lang = language === "zh" ? "en" : "zh-Hans";
  other.onclick = () => {
    const chosen = language === "zh" ? "en" : "zh";
    try {
      localStorage.setItem("language", chosen);
    } catch {
      // The choice is not saved.
    }
    speak(chosen);
  };
  about();
  message?.();
  element("status").textContent = statusText();
  showAsked(readAddress());
  if (hits.length) drawHits();
}

function about() {
  if (!index) return;
  const size = index.size.toLocaleString(document.documentElement.lang);
  element("about").textContent = words.about(size, index.model, index.search);
}


// ─── start ───────────────────────────────────────────────────────────────────────────────────────────────

async function start() {
  try {
    index = await fetchJson("api/index");
  } catch (error) {
    shown = null;
    failed(error);
    return;
  }
  about();
  shown = null;
  show();
}

addEventListener("popstate", show);
const preferred = remembered() ?? navigator.languages.find((one) => /^(en|zh)\b/i.test(one))?.slice(0, 2).toLowerCase();
speak(preferred in languages ? preferred : "en");
start();
if (matchMedia("(hover: hover)").matches && !readAddress().video) box.focus();
