// Dialogs: a link with data-dialog opens its page in one, data-opens="id" opens one of this page.

const dialog = document.getElementById("dialog");

async function load(url) {
  const body = dialog.firstElementChild;
  body.replaceChildren();
  await htmx.ajax("GET", url, { target: body, swap: "innerHTML" }).catch(() => {});
  if (body.childElementCount) dialog.showModal();
  else location.href = url; // the same as a whole page, which also says what is wrong
}

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab
  const link = event.target.closest("a[data-dialog]");
  const opener = event.target.closest("[data-opens]");
  const focuser = event.target.closest("[data-focus]");
  if (link && dialog) {
    event.preventDefault();
    load(link.href);
  } else if (opener) {
    event.preventDefault();
    opener.closest("[data-menu]")?.removeAttribute("open");
    document.getElementById(opener.dataset.opens).showModal();
  } else if (focuser) {
    focuser.closest("[data-menu]")?.removeAttribute("open");
    const field = document.getElementById(focuser.dataset.focus);
    field.focus();
    field.select?.();
  } else if (event.target.matches("dialog") && isOutside(event)) {
    event.target.close();
  }
});

function isOutside(event) {
  const box = event.target.getBoundingClientRect();
  return (
    event.clientX < box.left || event.clientX > box.right ||
    event.clientY < box.top || event.clientY > box.bottom
  );
}
