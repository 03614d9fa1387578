// Behaviour of every page: colours, times in the user's zone, whether the page is live, questions before what cannot be undone.
"use strict";

(() => {
  const root = document.documentElement;

  // colours
  const order = ["auto", "light", "dark"];
  const words = { auto: "as the system", light: "light", dark: "dark" };
  const button = document.getElementById("theme");
  const current = () => root.dataset.theme || "auto";
  const name = () => {
    const text = `Colours: ${words[current()]}`;
    button.setAttribute("aria-label", text);
    button.title = text;
  };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(current()) + 1) % order.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    try { next === "auto" ? localStorage.removeItem("gapsmith-theme") : localStorage.setItem("gapsmith-theme", next); } catch { /* private mode */ }
    name();
    document.dispatchEvent(new CustomEvent("gapsmith:theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("gapsmith:theme")));
  name();

  // times
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const date = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const local = (place) => {
    for (const element of place.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.dateTime);
      const text = moment.toDateString() === new Date().toDateString() ? clock.format(moment) : date.format(moment);
      if (element.textContent !== text) element.textContent = text;
      if (!element.title) element.title = full.format(moment);
    }
  };
  local(document);
  document.addEventListener("htmx:afterSwap", (event) => local(event.target));
  document.addEventListener("htmx:sseMessage", (event) => local(event.target));

  // live
  const live = document.getElementById("live");
  const state = (value, text) => { live.dataset.state = value; live.lastElementChild.textContent = text; };
  document.addEventListener("htmx:sseOpen", () => state("on", "live"));
  document.addEventListener("htmx:sseError", () => state("lost", "reconnecting"));
  document.addEventListener("htmx:sseClose", () => state("idle", ""));

  // questions
  document.addEventListener("submit", (event) => {
    const asked = event.submitter?.dataset.confirm;
    if (asked && !confirm(asked)) event.preventDefault();
  });

  // menus close with Escape and with a click elsewhere
  const close = (except) => document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(except)) menu.open = false; });
  document.addEventListener("click", (event) => close(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.menu[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
})();
