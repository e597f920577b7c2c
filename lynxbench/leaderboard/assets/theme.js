// Light, dark, or as the system says; kept where the browser lets a page from a folder keep anything.
"use strict";
(() => {
  const ORDER = ["auto", "light", "dark"];
  const read = () => {
    try {
      const kept = localStorage.getItem("lynxbench-theme");
      return ORDER.includes(kept) ? kept : "auto";
    } catch {
      return "auto";
    }
  };
  let theme = read();
  const apply = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => (button.lastElementChild.textContent = theme);
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      try {
        localStorage.setItem("lynxbench-theme", theme);
      } catch {
        // It lasts as long as the page.
      }
      apply();
      label();
    });
  });
})();
