"use strict";
// The slices of volumes: a slider that shows one tile of the picture that holds them all.

// A slider through the slices that the page has. Its place is kept in the address.
function scroller(box, group, gold, image, volume, paintFirst) {
  const stacks = SLICES[group.case]?.[image] || {};
  const names = Object.keys(stacks);
  const caption = make("div", { class: "note place" });
  const about = make("div", { class: "volume" }, box, caption);
  if (!names.length) {
    caption.textContent = `${placeText(gold.starts[image], volume)} · its other slices are not on this page`;
    return about;
  }
  const choice = make("select", { "aria-label": "plane" }, make("option", { value: "" }, "as shown first"),
    ...names.map((name) => make("option", { value: name }, name)));
  const slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "slice" });
  const marks = make("div", { class: "marks" });
  const whole = make("a", { target: "_blank" }, "all in one picture");
  const chosen = make("div", { class: "note" }, choice, " ", whole);

  const show = (name, at) => {
    const stack = stacks[name];
    for (const each of [slider, marks, whole]) each.hidden = !stack;
    choice.value = stack ? name : "";
    if (!stack) {
      caption.textContent = placeText(gold.starts[image], volume);
      return paintFirst();
    }
    const place = { plane: name, index: stack.indices[at] };
    const size = volume[name].size;
    slider.max = stack.indices.length - 1;
    slider.value = at;
    whole.href = stack.file;
    marks.replaceChildren(...marksOf(group, gold, image, name, stack, go));
    const kept = stack.indices.length < volume[name].count ? ` · ${stack.indices.length} of them are here` : "";
    caption.textContent = placeText(place, volume) + kept;
    paint(box, group, gold, image, place, size, stack.tile, tile(stack, at, caption.textContent));
  };
  const go = (name, at) => {
    const index = stacks[name]?.indices[at];
    history.replaceState(null, "", address({ at: index === undefined ? "" : `${image},${index},${name}` }));
    show(name, at);
  };
  choice.addEventListener("change", () => go(choice.value, opening(group, gold, image, choice.value, stacks)));
  slider.addEventListener("input", () => go(choice.value, Number(slider.value)));
  about.step = (by) => {
    if (!choice.value) return go(names[0], opening(group, gold, image, names[0], stacks));
    go(choice.value, Math.max(0, Math.min(Number(slider.max), Number(slider.value) + by)));
  };
  const [asked, index, ...rest] = state().at.split(",");
  const name = rest.join(",");
  const there = Number(asked) === image && Object.hasOwn(stacks, name) ? nearest(stacks[name], Number(index)) : 0;
  show(Number(asked) === image ? name : "", there);
  about.append(slider, marks, chosen);
  return about;
}

// Where a plane opens: where the policy looked first, else at the gold, else in the middle.
function opening(group, gold, image, name, stacks) {
  if (!name) return 0;
  const look = looksAt(group, image).map(([each]) => each).find((each) => plane(each) === name);
  const region = gold.regions.find((each) => each.image === image && each.plane === name && each.indices);
  const index = look ? look.index : region ? Math.floor((region.indices[0] + region.indices[1] - 1) / 2)
    : stacks[name].indices[Math.floor(stacks[name].indices.length / 2)];
  return nearest(stacks[name], index);
}

function nearest({ indices }, index) {
  let best = 0;
  indices.forEach((each, at) => {
    if (Math.abs(each - index) < Math.abs(indices[best] - index)) best = at;
  });
  return best;
}

// Below the slider: which slices were looked at, and which show the gold.
function marksOf(group, gold, image, name, stack, go) {
  const left = (at) => `left: ${100 * at / Math.max(1, stack.indices.length - 1)}%`;
  const made = [];
  stack.indices.forEach((index, at) => {
    if (gold.regions.some((each) => each.image === image && each.plane === name && shows({ plane: name, index }, each))) {
      made.push(make("i", { class: "gold", style: left(at), title: `gold: ${name} ${index}` }));
    }
    const looks = looksAt(group, image).filter(([look]) => same(look, { plane: name, index }));
    if (!looks.length) return;
    const kind = looks.some(([, part]) => verdict(part) === "right") ? "right" : verdict(looks[0][1]);
    const title = [`${name} ${index}`, ...looks.map((each) => titleOf(...each))].join("\n");
    const mark = make("button", { type: "button", class: kind, style: left(at), title, "aria-label": title });
    mark.addEventListener("click", () => go(name, at));
    made.push(mark);
  });
  return made;
}

// One tile of the picture that holds all slices of a plane.
function tile({ file, columns, rows }, at, name) {
  const image = make("img", { src: file, alt: name });
  image.style.cssText = `inset: auto; width: ${100 * columns}%; height: ${100 * rows}%;`
    + ` left: ${-100 * (at % columns)}%; top: ${-100 * Math.floor(at / columns)}%`;
  return image;
}
