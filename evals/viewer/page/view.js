"use strict";
// The page's state is its address, #store=...&show=...&find=...&group=..., so that a link shows the same
// view again. Texts of a run are put in as text and never as markup.

// An episode whose machinery failed is neither right nor wrong.
const whole = (group) => group.episodes.filter((episode) => !episode.failure);
const right = (group) => whole(group).filter((episode) => episode.correct).length;
const SHOWS = {
  all: () => true,
  right: (group) => right(group) > 0 && right(group) === whole(group).length,
  wrong: (group) => right(group) === 0 && whole(group).length > 0,
  mixed: (group) => right(group) > 0 && right(group) < whole(group).length,
  failed: (group) => group.episodes.some((e) => e.failure || e.parts.some((p) => p.failure)),
};
const WIDEST = 576; // pixels of a mask that is drawn; it is shown at half of that
const read = {};
const asked = new Set();

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
  const given = new URLSearchParams(location.hash.slice(1));
  const store = STORES.includes(given.get("store")) ? given.get("store") : FIRST;
  const show = Object.hasOwn(SHOWS, given.get("show")) ? given.get("show") : "all";
  return { store, show, find: given.get("find") || "", group: Number(given.get("group")) || 0,
    at: given.get("at") || "" };
}

function address(changes) {
  return "#" + new URLSearchParams({ ...state(), ...changes });
}

function go(changes) {
  history.replaceState(null, "", address(changes));
  render();
}

// Draws what the address says, once its store is loaded. By then the address may have changed.
function render() {
  const now = state();
  if (now.store in read) return draw(now);
  if (asked.has(now.store)) return;
  asked.add(now.store);
  const file = `episodes-${STORES.indexOf(now.store)}.js`;
  const script = make("script", { src: file });
  script.onload = render;
  script.onerror = () => document.getElementById("group").replaceChildren(
    `${file} is not in the folder of this page. Write the page again, or copy the whole folder.`);
  document.head.append(script);
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
    "a", { href: address({ group: at, at: "" }), class: at === here ? "here" : null },
    group.case, make("div", { class: "dots" }, ...group.episodes.map(dot),
      ...(group.pair ? [group.pair.builder] : [])))));
  list.querySelector(".here")?.scrollIntoView({ block: "nearest" });
  const episodes = chosen.flatMap(([group]) => group.episodes);
  const correct = episodes.filter((e) => e.correct).length;
  document.getElementById("count").textContent =
    `${chosen.length} groups, ${episodes.length} episodes, ${correct} right`;
  const main = document.getElementById("group");
  if (here === null) return main.replaceChildren("No group matches.");
  const group = groups[here];
  main.replaceChildren(
    about(group, cases[group.case], texts),
    make("div", { class: group.episodes.some((e) => e.parts.length > 1) ? "members rows" : "members" },
      ...group.episodes.map((each) => column(each, texts, cases[group.case]))));
}

function verdict(episode) {
  return episode.failure ? "failed" : episode.correct ? "right" : "wrong";
}

function dot(episode) {
  const hurt = episode.parts.some((part) => part.failure) ? " hurt" : "";
  return make("span", { class: `dot ${verdict(episode)}${hurt}`, title: summary(episode) });
}

function summary(episode) {
  if (episode.failure) return `failed: ${episode.failure}`;
  const said = episode.answer === null ? "no answer" : `"${episode.answer}"`;
  const terms = Object.entries(episode.terms).map(([name, value]) => `${name} ${short(value)}`).join(", ");
  const rest = [...(episode.truncated ? ["out of budget"] : []), ...episode.faults.map((f) => `fault: ${f}`)];
  return [said, verdict(episode), `reward ${short(episode.reward)}` + (terms ? ` (${terms})` : ""), ...rest].join(" · ");
}

function short(value) {
  return Number.isFinite(value) ? Number(value.toFixed(3)) : value;
}

function about(group, gold, texts) {
  const parts = group.episodes.flatMap((e) => e.parts).filter((part) => part.turns.length);
  const lines = parts.map((part) => texts[part.turns[0].text]);
  const words = make("div", { class: "words" }, make("h2", {}, group.case));
  if (group.pair) words.append(make("p", {}, pairOf(group.pair)));
  if (!gold) {
    words.append(make("p", { class: "note" }, "The case cannot be found, so its gold is not shown."));
    return make("section", { class: "case" }, words);
  }
  const options = gold.options.map((text, at) => `${String.fromCharCode(65 + at)}.\u00a0${text}`);
  const right = [gold.answer, ...gold.accepted].join(" or ");
  const golds = [`gold: ${right}`, ...(gold.specialty ? [`specialty: ${gold.specialty}`] : [])];
  if (lines.length && !lines.some((text) => text.includes(`\nQuestion: ${gold.question}`))) {
    // Triage is asked for a specialty: the letters are those of its own options.
    words.append(make("p", {}, lines[0].slice(lines[0].lastIndexOf("\nQuestion: ") + 11)));
    golds[0] = `gold of the case's own question, "${gold.question}": ${right}`;
  } else {
    words.append(make("p", {}, gold.question), make("p", {}, options.join("\u2003")));
  }
  words.append(make("p", { class: "note" }, golds.join(" · ")));
  const scenes = parts.length ? gold.sizes.map((size, image) => scene(group, gold, parts[0], size, image)) : [];
  return make("section", { class: "case" }, ...scenes, words);
}

// Why two episodes are a pair.
function pairOf({ builder, why, score, margin, shared }) {
  const rest = shared ? [`the first ${shared} messages are shared`] : [];
  return [`${builder}: ${why}`, `score ${short(score)}`, `margin ${short(margin)}`, ...rest].join(" · ");
}

// What a view, a look or a region is of. Of a flat picture nothing is said.
const plane = (place) => place.plane ?? "image";
const same = (one, other) => plane(one) === plane(other) && (one.index ?? 0) === (other.index ?? 0);

// The plane, the index, the slab and the window of a view, in the words that the policy reads.
function placeText({ index, slab, window, ...place }, volume) {
  const last = volume ? volume[place.plane].count - 1 : null;
  const words = place.plane ? [`${place.plane} ${index}` + (last ? ` of 0 to ${last}` : "")] : [];
  if (slab) words.push(`${slab.how} of ${slab.count}`);
  if (window) words.push(`window ${short(window.centre)}, ${short(window.width)}`);
  return words.join(", ");
}

// Whether a region is seen at a place: a slab that is thicker mixes it with what lies before and behind it.
function shows(place, region) {
  if (region.plane && region.plane !== plane(place)) return false;
  const [first, end] = region.indices || [0, Infinity];
  return first <= (place.index ?? 0) && (place.index ?? 0) < end && (place.slab?.count ?? 1) <= end - first;
}

// An image as it was shown first, and below it, where it is one of many, what shows the others.
function scene(group, gold, first, size, image) {
  const shown = first.turns[0].images.find(([view]) => view === image);
  const box = make("div", { class: "scene" });
  const paintFirst = () => paint(
    box, group, gold, image, gold.starts[image], size, gold.shapes[image],
    shown && shown[1] ? picture(shown[1], `image ${image}`) : null);
  paintFirst();
  const volume = gold.volumes[image];
  return volume ? scroller(box, group, gold, image, volume, paintFirst) : box;
}

// Draws one image of a study, whose pixels need not be square: its gold regions, and where each episode looked at it.
function paint(box, group, gold, image, place, [width, height], shape, picture) {
  box.replaceChildren(...(picture ? [picture] : []));
  box.style.aspectRatio = shape.join(" / ");
  const regions = gold.regions.filter((region) => region.image === image && shows(place, region));
  const looks = looksAt(group, image).filter(([look]) => same(look, place))
    .map(([look, part, episode]) => rectangle(look.box, verdict(part), titleOf(look, part, episode)));
  if (regions.some((region) => region.runs)) box.append(masks(regions, width, height));
  box.append(make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" }, ...looks,
    ...regions.map((region) => rectangle(region.box, "gold", `gold: ${region.label}`))));
}

function looksAt(group, image) {
  return group.episodes.flatMap((episode) => episode.parts.flatMap((part) => part.looks
    .filter((look) => look.image === image).map((look) => [look, part, episode])));
}

function titleOf(look, part, episode) {
  const place = placeText(look);
  return `${part.role}, member ${episode.member}: ${look.tool}${place ? `, ${place}` : ""}`;
}

function rectangle([x0, y0, x1, y1], kind, title) {
  return make("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: kind }, make("title", {}, title));
}

// All masks of an image; a mask is row-major run lengths, of zeros first.
function masks(regions, width, height) {
  const scale = Math.min(1, WIDEST / width);
  const canvas = make("canvas", { width: Math.ceil(width * scale), height: Math.ceil(height * scale) });
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = "#009e73";
  for (const { runs } of regions) {
    let at = 0;
    (runs || []).forEach((length, number) => {
      for (let from = at; number % 2 && from < at + length;) {
        const x = from % width, run = Math.min(width - x, at + length - from);
        pen.fillRect(x, Math.floor(from / width), run, 1);
        from += run;
      }
      at += length;
    });
  }
  return canvas;
}

function picture(hash, name) {
  const { images } = read[state().store];
  return make("img", { src: `${images}/${hash.slice(0, 2)}/${hash}.png`, alt: name, title: name });
}

function column(episode, texts, gold) {
  const title = `${episode.side ? `${episode.side}, ` : ""}member ${episode.member}: ${summary(episode)}`;
  return make("article", { class: `episode ${verdict(episode)}` }, make("h2", {}, title),
    make("div", { class: "parts" }, ...episode.parts.map((part) => partOf(part, texts, gold))));
}

function partOf(part, texts, gold) {
  const first = part.turns.length ? part.turns[0].images.length : 0;
  const about = (view) => {
    const place = view < first ? gold?.starts[view] : part.looks[view - first];
    const text = place ? placeText(place, gold?.volumes[place.image ?? view]) : "";
    return `view ${view}${text ? `: ${text}` : ""}`;
  };
  const lines = [part.role, ...(part.round ? [`round ${part.round}`] : []),
    ...(part.version ? [part.version] : []), ...(part.tokens ? [`${part.tokens} tokens`] : []),
    ...("seconds" in part ? [`${part.seconds.toFixed(2)} s`] : [])];
  const single = part.role === "policy";
  return make("section", { class: `part ${verdict(part)}`, title: part.policy },
    make("div", { class: "note" }, lines.join(" · "), ...(single ? [] : [make("div", {}, summary(part))])),
    ...(part.version || !part.policy ? [] : [make("div", { class: "note who" }, part.policy)]),
    ...part.turns.map((turn, at) => turnOf(turn, at, texts, about)));
}

function turnOf(turn, at, texts, about) {
  const images = turn.images.map(([view, hash]) => make("figure", {},
    hash ? picture(hash, about(view)) : make("div", { class: "gone" }, "not kept"), make("figcaption", {}, about(view))));
  const text = make("pre", {}, ...(turn.pieces ? turn.pieces.map(piece) : [texts[turn.text]]));
  if (at) return make("div", { class: `turn ${turn.role}` }, ...images, text);
  // What a case says beside its question, as the specialists' opinions, is not to be looked for.
  const context = texts[turn.text].match(/\nContext: ([^]*?)\nQuestion: /);
  return make("div", { class: "turn asked" }, ...images,
    make("details", {}, make("summary", {}, "asked"), text),
    ...(context ? [make("pre", {}, context[1])] : []));
}

// The less likely a token was, the more it is coloured.
function piece([text, probability]) {
  const doubt = (0.75 * (1 - probability)).toFixed(2);
  return make("span", { style: `background: rgb(213 94 0 / ${doubt})`, title: `p = ${probability}` }, text);
}

for (const [name, values] of [["store", STORES], ["show", Object.keys(SHOWS)]]) {
  const field = document.getElementById(name);
  field.append(...values.map((value) => make("option", { value }, LABELS[value] || value)));
  field.addEventListener("change", () => go({ [name]: field.value, group: 0, at: "" }));
}
document.getElementById("find").addEventListener("input", (event) => go({ find: event.target.value, group: 0, at: "" }));
document.getElementById("choice").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (document.activeElement.matches("input, select")) return;
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const volume = document.querySelector(".volume:has(select)");
  if (by && volume) {
    event.preventDefault();
    return volume.step(by);
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = [...document.querySelectorAll("nav a")];
  const next = links[links.findIndex((link) => link.classList.contains("here")) + step];
  if (next) location.hash = next.getAttribute("href");
  event.preventDefault();
});
addEventListener("hashchange", render);
render();
