"use strict";
// The page's state is its address: #store=...&show=...&find=...&group=..., so that a link shows what
// was seen. Texts of a run are put in as text and never as markup.

const SHOWS = {
  all: () => true,
  right: (group) => group.episodes.every((e) => e.correct),
  wrong: (group) => group.episodes.every((e) => !e.correct && !e.failure),
  mixed: (group) => new Set(group.episodes.map((e) => e.correct)).size > 1,
  failed: (group) => group.episodes.some((e) => e.failure || e.parts.some((p) => p.failure)),
};
const read = {};

function loaded(name, episodes) {
  read[name] = episodes;
}

function make(tag, about = {}, ...children) {
  const made = document.createElementNS(
    ["svg", "rect", "title"].includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
  for (const [name, value] of Object.entries(about)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function state() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const store = STORES.includes(asked.get("store")) ? asked.get("store") : STORES[0];
  const show = asked.get("show") in SHOWS ? asked.get("show") : "all";
  return { store, show, find: asked.get("find") || "", group: Number(asked.get("group")) || 0 };
}

function address(changes) {
  return "#" + new URLSearchParams({ ...state(), ...changes });
}

function go(changes) {
  history.replaceState(null, "", address(changes));
  render();
}

function open(store, then) {
  if (store in read) return then();
  const script = make("script", { src: `episodes-${STORES.indexOf(store)}.js` });
  script.onload = then;
  document.head.append(script);
}

function render() {
  const now = state();
  open(now.store, () => draw(now));
}

function draw(now) {
  const { groups, cases, texts } = read[now.store];
  for (const name of ["store", "show", "find"]) {
    const field = document.getElementById(name);
    if (field.value !== now[name]) field.value = now[name];
  }
  const chosen = groups.map((group, at) => [group, at])
    .filter(([group]) => SHOWS[now.show](group) && group.case.includes(now.find));
  const here = chosen.some(([, at]) => at === now.group) ? now.group : chosen.length ? chosen[0][1] : null;
  const list = document.getElementById("groups");
  list.replaceChildren(...chosen.map(([group, at]) => make(
    "a", { href: address({ group: at }), class: at === here ? "here" : null },
    group.case, make("div", { class: "dots" }, ...group.episodes.map(dot)))));
  list.querySelector(".here")?.scrollIntoView({ block: "nearest" });
  const episodes = chosen.flatMap(([group]) => group.episodes);
  const right = episodes.filter((e) => e.correct).length;
  document.getElementById("count").textContent =
    `${chosen.length} groups, ${episodes.length} episodes, ${right} right`;
  const main = document.getElementById("group");
  if (here === null) return main.replaceChildren("No group is like that.");
  const group = groups[here];
  main.replaceChildren(
    about(group, cases[group.case], texts),
    make("div", { class: group.episodes.some((e) => e.parts.length > 1) ? "members rows" : "members" },
      ...group.episodes.map((each) => column(each, texts))));
}

function verdict(played) {
  return played.failure ? "failed" : played.correct ? "right" : "wrong";
}

function dot(episode) {
  return make("span", { class: `dot ${verdict(episode)}`, title: summary(episode) });
}

function summary(played) {
  if (played.failure) return `failed: ${played.failure}`;
  const said = played.answer === null ? "no answer" : `"${played.answer}"`;
  const terms = Object.entries(played.terms).map(([name, value]) => `${name} ${value}`).join(", ");
  const rest = [...(played.truncated ? ["out of budget"] : []), ...played.faults.map((f) => `fault: ${f}`)];
  return [said, verdict(played), `reward ${played.reward}` + (terms ? ` (${terms})` : ""), ...rest].join(" · ");
}

function about(group, gold, texts) {
  const first = group.episodes.flatMap((e) => e.parts).find((part) => part.turns.length);
  const words = make("div", { class: "words" }, make("h2", {}, group.case));
  if (gold) {
    const told = [`gold: ${gold.answer}`, ...(gold.specialty ? [`specialty: ${gold.specialty}`] : [])];
    const options = gold.options.map((text, at) => `${String.fromCharCode(65 + at)}. ${text}`);
    words.append(make("p", {}, gold.question), make("p", {}, options.join("   ")),
      make("p", { class: "told" }, told.join(" · ")));
  } else if (first) {
    words.append(make("p", { class: "told" }, "The case is not at hand: its gold is not shown."));
  }
  const scenes = gold && first ? gold.sizes.map((size, image) => scene(group, gold, first, size, image)) : [];
  return make("section", { class: "case" }, ...scenes, words);
}

// An image as it was shown first; gold regions, and where each episode looked.
function scene(group, gold, first, [width, height], image) {
  const shown = first.turns[0].images.find(([view]) => view === image);
  const box = make("div", { class: "scene", style: `aspect-ratio: ${width} / ${height}` });
  if (shown && shown[1]) box.append(picture(shown[1], `image ${image}`));
  const regions = gold.regions.filter((region) => region.image === image);
  const looks = group.episodes.flatMap((episode) => episode.parts.flatMap((part) => part.looks
    .filter((look) => look.image === image)
    .map((look) => rectangle(look.box, verdict(part), `${part.role}, member ${episode.member}: ${look.tool}`))));
  for (const region of regions) if (region.runs) box.append(mask(region.runs, width, height));
  box.append(make("svg", { viewBox: `0 0 ${width} ${height}` }, ...looks,
    ...regions.map((region) => rectangle(region.box, "gold", `gold: ${region.label}`))));
  return box;
}

function rectangle([x0, y0, x1, y1], kind, title) {
  return make("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: kind }, make("title", {}, title));
}

// Row-major run lengths, of zeros first.
function mask(runs, width, height) {
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#009e73";
  let at = 0;
  runs.forEach((length, number) => {
    for (let from = at; number % 2 && from < at + length;) {
      const x = from % width, run = Math.min(width - x, at + length - from);
      pen.fillRect(x, Math.floor(from / width), run, 1);
      from += run;
    }
    at += length;
  });
  return canvas;
}

function picture(hash, name) {
  const { images } = read[state().store];
  return make("img", { src: `${images}/${hash.slice(0, 2)}/${hash}.png`, alt: name, title: name });
}

function column(episode, texts) {
  const title = `member ${episode.member}: ${summary(episode)}`;
  return make("article", { class: `episode ${verdict(episode)}` }, make("h2", {}, title),
    make("div", { class: "parts" }, ...episode.parts.map((part) => partOf(part, texts))));
}

function partOf(part, texts) {
  const told = [part.role, ...(part.round ? [`round ${part.round}`] : []),
    ...(part.version ? [part.version] : []), ...(part.tokens ? [`${part.tokens} tokens`] : []),
    ...("seconds" in part ? [`${part.seconds.toFixed(2)} s`] : [])];
  const alone = part.role === "policy";
  return make("section", { class: `part ${verdict(part)}`, title: part.policy },
    make("div", { class: "told" }, told.join(" · "), ...(alone ? [] : [make("div", {}, summary(part))])),
    ...part.turns.map((turn, at) => turnOf(turn, at, texts)));
}

function turnOf(turn, at, texts) {
  const images = turn.images.map(([view, hash]) => make("figure", {},
    hash ? picture(hash, `view ${view}`) : make("div", { class: "gone" }, "not kept"), `view ${view}`));
  const text = make("pre", {}, ...(turn.pieces ? turn.pieces.map(piece) : [texts[turn.text]]));
  if (at) return make("div", { class: `turn ${turn.role}` }, ...images, text);
  return make("div", { class: "turn asked" }, ...images, make("details", {}, make("summary", {}, "asked"), text));
}

// The less likely a token was, the more it is coloured.
function piece([text, probability]) {
  const doubt = (0.75 * (1 - probability)).toFixed(2);
  return make("span", { style: `background: rgb(213 94 0 / ${doubt})`, title: `p = ${probability}` }, text);
}

for (const [name, values] of [["store", STORES], ["show", Object.keys(SHOWS)]]) {
  const field = document.getElementById(name);
  field.append(...values.map((value) => make("option", {}, value)));
  field.addEventListener("change", () => go({ [name]: field.value, group: 0 }));
}
document.getElementById("find").addEventListener("input", (event) => go({ find: event.target.value, group: 0 }));
document.getElementById("choice").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.target.matches("input, select")) return;
  const links = [...document.querySelectorAll("nav a")];
  const next = links[links.findIndex((link) => link.classList.contains("here")) + step];
  if (next) location.hash = next.getAttribute("href");
  event.preventDefault();
});
addEventListener("hashchange", render);
render();
