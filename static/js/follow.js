// Follow the end of the thread while the reader is at the end, and never otherwise.

const NEAR_PX = 40;
const thread = document.querySelector("[data-follow]");
const jump = document.querySelector("[data-jump]");
const page = document.scrollingElement;
let following = true;
let last = 0; // where the page stood at the last scroll event

const distance = () => page.scrollHeight - page.clientHeight - page.scrollTop;

function toEnd() {
  page.scrollTop = page.scrollHeight;
  following = true;
  jump.hidden = true;
}

if (thread) {
  // Only scrolling up ends it. The distance alone would not do: when the event of one's own
  // scrolling arrives, the text has grown again.
  addEventListener("scroll", () => {
    if (distance() < NEAR_PX) following = true;
    else if (page.scrollTop < last) following = false;
    last = page.scrollTop;
    jump.hidden = following;
  }, { passive: true });

  const observer = new ResizeObserver(() => {
    if (following) toEnd();
    else jump.hidden = distance() < NEAR_PX;
  });
  observer.observe(thread);
  observer.observe(document.querySelector(".dock"));

  jump.addEventListener("click", () => {
    toEnd();
    document.getElementById("composer-text")?.focus({ preventScroll: true });
  });
  // One's own message is what one wants to see next.
  document.addEventListener("htmx:wsAfterSend", toEnd);

  const [entry] = performance.getEntriesByType("navigation");
  if (!location.hash && entry?.type !== "back_forward") toEnd();
}
