"use strict";
// Theme, and paging and filtering of the examples. All of them are in the page already: this only hides and
// shows, and never makes markup out of text.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const sayTheme = () => theme.setAttribute("aria-pressed", String(isDark()));
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    sayTheme();
  });
  system.addEventListener("change", sayTheme);
  sayTheme();

  const list = document.getElementById("example-list");
  if (!list) return;
  const filters = document.getElementById("filters");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  const shown = document.getElementById("shown");
  const size = Number(list.dataset.page);
  const cards = Array.from(document.querySelectorAll(".example"));
  const texts = new Map();
  let matching = cards;
  let start = 0;

  const textOf = (card) => {
    if (!texts.has(card)) {
      const parts = Array.from(card.querySelectorAll(".text, .evidence"), (part) => part.textContent);
      texts.set(card, parts.join("\n").toLowerCase());
    }
    return texts.get(card);
  };

  const matches = (card, wanted) =>
    wanted.every(([name, value]) => {
      if (name === "text") return textOf(card).includes(value.toLowerCase());
      if (name === "kinds") return card.dataset.kinds.split(" ").includes(value);
      return card.dataset[name] === value;
    });

  const show = () => {
    const page = new Set(matching.slice(start, start + size));
    for (const card of cards) card.hidden = !page.has(card);
    const last = Math.min(start + size, matching.length);
    shown.textContent = matching.length
      ? `${start + 1} to ${last} of ${matching.length} examples`
      : "No example matches these filters.";
    previous.disabled = start === 0;
    next.disabled = last === matching.length;
  };

  const filter = () => {
    const wanted = Array.from(new FormData(filters)).filter(([, value]) => value !== "");
    matching = cards.filter((card) => matches(card, wanted));
    start = 0;
    show();
  };

  const turn = (to) => {
    start = to;
    show();
    matching[start].focus();
  };

  // Moves the focus by one example, turning the page where that is needed.
  const step = (by) => {
    const current = matching.indexOf(document.activeElement.closest(".example"));
    const to = current < 0 ? start : current + by;
    if (to < 0 || to >= matching.length) return;
    if (to < start || to >= start + size) {
      start = Math.floor(to / size) * size;
      show();
    }
    matching[to].focus();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, button, [contenteditable]")) return;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  previous.addEventListener("click", () => turn(start - size));
  next.addEventListener("click", () => turn(start + size));

  const more = document.getElementById("more-examples");
  show();
  if (more) {
    list.append(...more.querySelectorAll(".example"));
    more.remove();
  }
  filters.hidden = false;
  document.getElementById("pager").hidden = false;
})();
