// Runs before the first paint, so that a chosen theme does not flash. The choice is no secret.
"use strict";
(() => {
  const chosen = localStorage.getItem("gangline.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
