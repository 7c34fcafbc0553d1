// What is wide enough to scroll can be reached by keyboard. The theme measures every block of a
// chapter at once when the page opens, which on a phone takes longer than all its other work.
// Here each can be reached at first (bookext/polish.py), and is measured when the window is near.
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
    }
  },
  { rootMargin: "100%" },
);
const wide =
  "pre, div.math, .cell_output > .output, .text_html, .figure-svg, .pst-scrollable-table-container";
for (const block of document.querySelectorAll(wide)) {
  // The theme's script has just put this around a table; all others have it from the build.
  if (block.matches(".pst-scrollable-table-container")) block.tabIndex = 0;
  near.observe(block);
}
