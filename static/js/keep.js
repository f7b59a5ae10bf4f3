// Keep what the reader has in hand when the server replaces the element around it.

const names = (element) => ({
  id: element.id,
  action: element.getAttribute("formaction"),
  label: element.getAttribute("aria-label"),
});
let held = null;

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const active = document.activeElement;
  held = null;
  if (!event.target.contains(active)) return;
  // A title that is being typed is not taken out of one's hands; the next push brings the header.
  if (active.matches("input, textarea") && active.value !== active.defaultValue) {
    event.detail.shouldSwap = false;
    return;
  }
  held = { within: event.target.id, ...names(active) };
});

document.addEventListener("htmx:oobAfterSwap", ({ target }) => {
  if (held && held.within === target.id) {
    const same = [...target.querySelectorAll("button, a, input, select, summary, [tabindex]")];
    const match =
      same.find((element) => held.id && element.id === held.id) ??
      same.find((element) => held.action && names(element).action === held.action) ??
      same.find((element) => held.label && names(element).label === held.label);
    held = null;
    // Where the thing is gone (Stop became Send), the message box is the place to be.
    const next = match ?? document.getElementById("composer-text");
    next?.focus({ preventScroll: true });
  }
  if (target.id === "conversation-header") {
    const [, site] = document.title.split(/ · (?!.* · )/);
    if (target.dataset.title) document.title = `${target.dataset.title} · ${site}`;
    const field = document.getElementById("composer-text");
    if (field) field.placeholder = field.dataset.placeholder.replace("%s", target.dataset.model);
  }
  const link = target.querySelector?.(":scope > a.item");
  if (link?.pathname === location.pathname) link.setAttribute("aria-current", "page");
});

// An answer's reasoning stays open, and at its place, when its message is replaced.
const NEAR_PX = 24;
const isAtEnd = (text) => text.scrollHeight - text.clientHeight - text.scrollTop < NEAR_PX;
let open = [];

document.addEventListener("htmx:wsBeforeMessage", () => {
  open = [...document.querySelectorAll(".reasoning[open]")].map(({ id, lastElementChild: text }) => ({
    id,
    top: isAtEnd(text) ? Infinity : text.scrollTop,
  }));
});

document.addEventListener("htmx:wsAfterMessage", () => {
  for (const { id, top } of open) {
    const reasoning = document.getElementById(id);
    if (!reasoning) continue;
    reasoning.open = true;
    reasoning.lastElementChild.scrollTop = Math.min(top, reasoning.lastElementChild.scrollHeight);
  }
});

// Who opens what is being written wants to see what comes.
document.addEventListener("toggle", ({ target }) => {
  if (target.matches(".reasoning[open]:has([data-thinking])")) {
    target.lastElementChild.scrollTop = target.lastElementChild.scrollHeight;
  }
}, true);
