// Short messages at the corner: they go by themselves, unless somebody is at them.

const SHOWN_MS = 10_000; // long enough to reach "Undo"
const toasts = document.getElementById("toasts");

function expire(toast) {
  setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) expire(toast);
    else toast.remove();
  }, SHOWN_MS);
}

function show(name) {
  const toast = document.getElementById(`toast-${name}`).content.cloneNode(true);
  toasts.replaceChildren(toast); // the same failure ten times is one message
  expire(toasts.firstElementChild);
}

toasts.querySelectorAll("[data-toast]").forEach(expire);

document.addEventListener("click", (event) => {
  event.target.closest("[data-close-toast]")?.closest("[data-toast]").remove();
  event.target.closest("[data-close-notice]")?.closest("#notice").replaceChildren();
});

document.addEventListener("htmx:responseError", () => show("failed"));
document.addEventListener("htmx:sendError", () => show("unreachable"));

// 422 is a form with its errors: shown in place, like any other answer.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status !== 422) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
});
