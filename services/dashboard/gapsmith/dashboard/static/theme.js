// Before the first paint: the colours that the user chose, or those of the system.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("gapsmith-theme"); } catch { /* private mode */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
