
"use strict";
const gallery = document.getElementById("gallery");
const cards = Array.from(gallery.querySelectorAll(".pair"));
const values = new Map(cards.map((card) => [card, JSON.parse(card.dataset.values)]));
const form = document.getElementById("filter");
const count = document.getElementById("count");

function wipe(card, share) {
  const slider = card.querySelector(".wipe");
  slider.value = share;
  slider.setAttribute("aria-valuetext", `${slider.value}% clean`);
  card.querySelector(".stage").style.setProperty("--cut", `${slider.value}%`);
}

function matches(card, wanted) {
  const value = values.get(card)[wanted.column];
  const low = wanted.low === "" ? -Infinity : Number(wanted.low);
  const high = wanted.high === "" ? Infinity : Number(wanted.high);
  const bounded = wanted.low !== "" || wanted.high !== "";
  return (
    (!wanted.recipe || card.dataset.recipe === wanted.recipe) &&
    (!wanted.label || card.dataset.label === wanted.label) &&
    card.dataset.text.toLowerCase().includes(wanted.text.toLowerCase()) &&
    (!bounded || (value !== undefined && value >= low && value <= high))
  );
}

function compare(name, direction) {
  if (name === "key") {
    return (a, b) => direction * (a.dataset.key < b.dataset.key ? -1 : Number(a.dataset.key > b.dataset.key));
  }
  return (a, b) => {
    const [first, second] = [values.get(a)[name], values.get(b)[name]];
    if (first === undefined || second === undefined) {
      return Number(first === undefined) - Number(second === undefined);
    }
    return direction * (first - second);
  };
}

function update() {
  const wanted = { label: "", ...Object.fromEntries(new FormData(form)) };
  const order = wanted.sort ? [...cards].sort(compare(wanted.sort, wanted.descending ? -1 : 1)) : cards;
  gallery.append(...order);
  for (const card of cards) {
    card.hidden = !matches(card, wanted);
  }
  const shown = visible();
  count.textContent = shown.length === cards.length ? `${cards.length} pairs` : `${shown.length} of ${cards.length} pairs`;
  if (shown.length) {
    makeCurrent(shown[0]);
  }
}

function visible() {
  return Array.from(gallery.children).filter((card) => !card.hidden);
}

function makeCurrent(current) {
  for (const card of cards) {
    card.tabIndex = card === current ? 0 : -1;
    card.querySelector(".wipe").tabIndex = card.tabIndex;
  }
}

function step(card, key) {
  const shown = visible();
  const index = shown.indexOf(card);
  const across = shown.filter((other) => other.offsetTop === shown[0].offsetTop).length;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -index, End: shown.length - 1 - index };
  return shown[index + moves[key]];
}

gallery.addEventListener("keydown", (event) => {
  const card = event.target.closest(".pair");
  if (!card || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("summary")) {
    return;
  }
  if (event.key === " ") {
    wipe(card, card.querySelector(".wipe").value > 50 ? 0 : 100);
    event.preventDefault();
  } else if (event.target === card && /^(Arrow|Home$|End$)/.test(event.key)) {
    const next = step(card, event.key);
    if (next) {
      makeCurrent(next);
      next.focus();
    }
    event.preventDefault();
  }
});
gallery.addEventListener("focusin", (event) => {
  const card = event.target.closest(".pair");
  if (card) {
    makeCurrent(card);
  }
});
gallery.addEventListener("input", (event) => wipe(event.target.closest(".pair"), event.target.value));

function drag(event) {
  const stage = event.target.closest(".stage");
  if (stage && (event.type === "pointerdown" || event.buttons)) {
    const box = stage.getBoundingClientRect();
    wipe(stage.closest(".pair"), Math.round(((event.clientX - box.left) / box.width) * 100));
  }
}
gallery.addEventListener("pointerdown", drag);
gallery.addEventListener("pointermove", drag);

form.addEventListener("input", update);
form.addEventListener("reset", () => setTimeout(update));
form.addEventListener("submit", (event) => event.preventDefault());

const theme = document.getElementById("theme");
function showTheme(dark) {
  theme.setAttribute("aria-pressed", String(dark));
}
showTheme(matchMedia("(prefers-color-scheme: dark)").matches);
theme.addEventListener("click", () => {
  const dark = theme.getAttribute("aria-pressed") !== "true";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  showTheme(dark);
});

cards.forEach((card) => wipe(card, 50));
update();
