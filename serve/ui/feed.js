// A new answer is scrolled to once, when it begins; after that the reader decides.
// Given by the page: element, watch.
let shown = false;
watch("value", () => {
  const filled = element.textContent.trim() !== "";
  if (filled && !shown) element.scrollIntoView({ behavior: "smooth", block: "start" });
  shown = filled;
});
