// Keyboard shortcuts: a key presses or focuses what carries its name in data-shortcut.

if (/Mac|iP(hone|ad)/.test(navigator.platform)) document.documentElement.dataset.platform = "mac";

function name(event) {
  const keys = [];
  if (event.ctrlKey || event.metaKey) keys.push("mod");
  if (event.shiftKey) keys.push("shift");
  keys.push(event.key.toLowerCase());
  return keys.join("+");
}

function press(shortcut) {
  const all = [...document.querySelectorAll(`[data-shortcut~="${CSS.escape(shortcut)}"]`)];
  // Of several (Copy stands under every answer) the last one that is there.
  const target = all.filter((element) => element.closest(".menu-panel") || element.checkVisibility({ visibilityProperty: true })).at(-1);
  if (!target) return false;
  if (target.matches("textarea")) target.focus();
  else target.click();
  return true;
}

document.addEventListener("keydown", (event) => {
  const inDialog = document.querySelector("dialog[open], [popover]:popover-open");
  if (event.defaultPrevented || event.isComposing || event.altKey || inDialog) return;
  const title = event.target.closest?.("[data-title-input]");
  if (title && (event.key === "Enter" || event.key === "Escape")) {
    event.preventDefault(); // leaving the field saves it
    if (event.key === "Escape") title.value = title.defaultValue;
    title.blur();
  } else if (event.key === "Escape" && !event.shiftKey) {
    document.querySelector("[data-stop]")?.click();
  } else if (event.shiftKey || event.ctrlKey || event.metaKey) {
    if (press(name(event))) event.preventDefault();
  }
});
