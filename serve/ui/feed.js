// A new answer is kept in view from its first line on, until the reader scrolls or presses something.
// Given by the page: element, watch.
const still = matchMedia("(prefers-reduced-motion: reduce)");
let shown = false;
let readerMoved = false;
for (const name of ["wheel", "touchmove", "pointerdown", "keydown"]) {
  addEventListener(name, () => { readerMoved = true; }, { passive: true });
}
watch("value", () => {
  const filled = element.textContent.trim() !== "";
  if (filled && !shown) readerMoved = false;
  shown = filled;
  // The finished entry moves from here into the feed in the same update: look when both are drawn.
  setTimeout(() => {
    const entry = filled ? element : document.querySelector("#iqa-feed .iqa-entry:last-of-type");
    if (!readerMoved && entry) entry.scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "start" });
  }, 60);
});
