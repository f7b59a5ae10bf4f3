// Menus and the sidebar: what opens closes again by Esc, by a click elsewhere, by moving on.

const root = document.documentElement;
const sidebar = document.getElementById("sidebar");
const narrow = matchMedia("(max-width: 48rem)");

function closeMenus(except) {
  let closed = null;
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (menu === except) continue;
    menu.open = false;
    closed = menu;
  }
  return closed;
}

function sidebarIsOpen() {
  return narrow.matches ? root.dataset.drawer === "open" : root.dataset.sidebar !== "closed";
}

function showSidebar(open) {
  if (narrow.matches) {
    root.dataset.drawer = open ? "open" : "closed";
    for (const part of document.querySelectorAll("main, .sidebar-open")) part.inert = open;
  } else {
    root.dataset.sidebar = open ? "open" : "closed";
    // A cookie, not localStorage: the server draws the page right at once, without a jump.
    document.cookie = `sidebar=${root.dataset.sidebar};path=/;max-age=31536000;samesite=lax`;
  }
  describe();
  document.querySelector(open ? ".sidebar-close" : ".sidebar-open")?.focus({ preventScroll: true });
}

function describe() {
  for (const button of document.querySelectorAll("[data-sidebar-open], .sidebar-close")) {
    button.setAttribute("role", "button");
    button.setAttribute("aria-expanded", String(sidebarIsOpen()));
  }
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("[data-menu-done]") ? null : event.target.closest("[data-menu]"));
  const button = event.target.closest("[data-sidebar-open], [data-sidebar-close]");
  if (!button) return;
  event.preventDefault();
  showSidebar(!sidebarIsOpen());
});

document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches('a[role="button"]')) {
    event.preventDefault();
    event.target.click();
  }
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const menu = closeMenus(null);
  if (menu) menu.querySelector("summary").focus();
  else if (narrow.matches && sidebarIsOpen()) showSidebar(false);
  else return;
  event.preventDefault();
});

// A wrong number within a closed menu would keep the form from being sent without a word.
document.addEventListener("invalid", (event) => {
  event.target.closest("[data-menu]")?.setAttribute("open", "");
}, true);

// Leaving a menu by Tab closes it.
document.addEventListener("focusin", (event) => closeMenus(event.target.closest("[data-menu]")));

if (sidebar) {
  describe();
  narrow.addEventListener("change", () => {
    delete root.dataset.drawer;
    for (const part of document.querySelectorAll("main, .sidebar-open")) part.inert = false;
    describe();
  });
  sidebar.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

// The settings' pages stand beside each other on a phone: the open one may be out of sight.
document.querySelector(".sections [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
