"use strict";
/* The page works without this file. With it: single keys, a Save that says what is missing, unsaved choices that
   survive a reload, folded long texts, and words to a screen reader after each save. */
(() => {
  const DRAFT = "aligntax:";
  const byId = (id) => document.getElementById(id);
  const page = () => byId("page");
  const form = () => byId("labels");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* Questions and what is missing */

  const chosen = (question) => all("input:checked", question).map((input) => input.value);
  const answered = () => document.querySelector("#q-answered");

  /* A kind that contradicts how much was given cannot be chosen with it. */
  const dropWhatDoesNotFit = () => {
    const given = answered() ? chosen(answered())[0] : undefined;
    for (const input of all("[data-fits]", form())) {
      input.disabled = given !== undefined && !input.dataset.fits.split(" ").includes(given);
      if (input.disabled) input.checked = false;
    }
  };

  const missing = () => all("[data-required]", form()).filter((question) => !chosen(question).length);

  const refresh = () => {
    if (!form()) return;
    dropWhatDoesNotFit();
    const open = missing();
    form().querySelector(".save").setAttribute("aria-disabled", String(open.length > 0));
    const names = open.map((question) => question.dataset.name);
    byId("missing").textContent = names.length ? `Still to say: ${names.join(", ")}` : "";
  };

  /* Unsaved choices of this exchange */

  const key = () => DRAFT + page().dataset.item;

  const keep = () => {
    const fields = new FormData(form());
    const draft = {};
    for (const question of all("[data-field]", form())) draft[question.dataset.field] = chosen(question);
    draft.note = [fields.get("note") || ""];
    try { sessionStorage.setItem(key(), JSON.stringify(draft)); } catch { /* a full or forbidden storage */ }
  };

  const restore = () => {
    let draft = null;
    try { draft = JSON.parse(sessionStorage.getItem(key())); } catch { return; }
    if (!draft) return;
    for (const question of all("[data-field]", form()))
      for (const input of all("input", question))
        input.checked = (draft[question.dataset.field] || []).includes(input.value);
    byId("note").value = (draft.note || [""])[0];
  };

  const forget = (item) => { try { sessionStorage.removeItem(DRAFT + item); } catch { /* nothing was kept */ } };

  /* Long texts */

  const fold = () => {
    for (const button of all("[data-unfolds]")) {
      byId(button.dataset.unfolds).classList.add("folded");
      button.hidden = false;
    }
  };

  const unfold = (button) => {
    const text = byId(button.dataset.unfolds);
    text.classList.remove("folded");
    text.tabIndex = -1;
    text.focus({ preventScroll: true });
    button.remove();
  };

  /* A page, or the part of it that came in place of the last one */

  const say = (words) => { byId("said").textContent = words; };

  const trouble = (words) => {
    byId("trouble").textContent = words;
    byId("trouble").hidden = !words;
  };

  const ready = () => {
    if (!page()) return;
    const { saved, said, title } = page().dataset;
    if (saved) forget(saved);
    if (title) document.title = `${title} · aligntax`;
    if (form()) {
      fold();
      if ("filled" in page().dataset) keep(); else restore();
      refresh();
    }
    if (said) say(said);
  };

  /* Keys */

  const letter = (event) => {
    if (event.key.length === 1 && event.key.charCodeAt(0) < 128) return event.key.toLowerCase();
    const code = /^(?:Key|Digit)(.)$/.exec(event.code); // other alphabets: by the place of the key
    return code ? code[1].toLowerCase() : event.key;
  };

  const press = (target) => {
    const part = target.closest("details");
    if (part && !target.matches("summary")) part.open = true;
    if (target.matches("summary")) {
      part.open = !part.open;
      if (part.open) part.querySelector("input[type=radio]").focus(); else target.focus();
    } else if (target.matches("textarea")) {
      target.focus();
    } else if (target.matches("input[type=radio]")) {
      target.focus({ preventScroll: true });
      if (!target.checked) target.click();
    } else {
      if (target.matches("input")) target.focus({ preventScroll: true });
      target.click();
    }
  };

  const save = () => {
    const open = missing();
    if (!open.length) { form().requestSubmit(); return; }
    say(""); // the same words again are news
    say(`Not saved. Still to say: ${open.map((question) => question.dataset.name).join(", ")}`);
    (open[0].querySelector("input:checked") || open[0].querySelector("input")).focus();
  };

  const openCodebook = () => {
    const dialog = byId("codebook");
    if (dialog && !dialog.open) { dialog.showModal(); dialog.querySelector(".scroll").focus(); }
  };

  const onEnter = (event) => {
    const { target } = event;
    if (target.matches("button:not(.save), a, summary")) return; // they do what they say
    if (target.matches("textarea") && event.shiftKey) return;
    event.preventDefault();
    if (event.repeat) return;
    if (document.querySelector(".skip[open]")) { byId("skipping").requestSubmit(); return; }
    const other = document.querySelector(".rest button.save");
    if (form()) save(); else if (other) other.click();
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || !page()) return;
    if (byId("codebook")?.open) {
      if (event.key === "?") { event.preventDefault(); byId("codebook").close(); }
      return;
    }
    const skipping = document.querySelector(".skip[open]");
    if (event.key === "Escape") {
      if (skipping) { skipping.open = false; skipping.querySelector("summary").focus(); }
      else if (event.target.matches("textarea")) event.target.blur();
      return;
    }
    if (event.key === "Enter") { onEnter(event); return; }
    if (event.target.matches("textarea") || event.repeat) return;
    if (event.key === "?") { event.preventDefault(); openCodebook(); return; }
    const wanted = letter(event);
    const target = all("[data-key]", skipping || document).find((one) => one.dataset.key === wanted && !one.matches(":disabled") && !one.hidden);
    if (!target) return;
    event.preventDefault();
    press(target);
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) { event.preventDefault(); openCodebook(); return; }
    const folded = event.target.closest("[data-unfolds]");
    if (folded) unfold(folded);
    if (event.target === byId("codebook")) byId("codebook").close(); // beside it
  });

  document.addEventListener("submit", (event) => {
    if (event.target !== form() || !missing().length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    save();
  }, true);

  for (const kind of ["input", "change"])
    document.addEventListener(kind, (event) => {
      if (form() && form().contains(event.target)) { refresh(); keep(); }
    });

  /* The server */

  const WORDS = {
    401: "Your link is no longer known here. What you saved is safe; ask for a new link.",
    403: "This page belongs to another link or has grown old. Reload it; what you chose stays.",
    413: "That is too long to be saved. Shorten the note.",
  };

  document.addEventListener("htmx:afterSettle", () => {
    trouble("");
    ready();
    window.scrollTo(0, 0);
    const heading = byId("item-title");
    if (heading) heading.focus({ preventScroll: true });
  });
  document.addEventListener("htmx:responseError", (event) => {
    trouble(WORDS[event.detail.xhr.status] || "That could not be saved just now. What you chose is still here: try again.");
  });
  for (const kind of ["htmx:sendError", "htmx:timeout"])
    document.addEventListener(kind, () => {
      trouble("The server does not answer. What you saved is safe, and what you chose is still here: try again in a moment.");
    });

  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  ready();
})();
