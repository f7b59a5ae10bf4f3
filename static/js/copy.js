// Copy an answer's source, a code block or a link; code blocks get their buttons here.

const status = document.getElementById("copy-status");
const buttons = document.getElementById("code-buttons");
const thread = document.getElementById("thread") ?? document.querySelector(".panels");

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // no clipboard without https
  }
  button.dataset.copied = "";
  status.textContent = status.dataset.text;
  setTimeout(() => {
    delete button.dataset.copied;
    status.textContent = "";
  }, 2000);
}

function copyBySelection(text) {
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.readOnly = true;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  before?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-code], [data-copy-from], [data-wrap]");
  if (!button) return;
  const code = button.closest(".code");
  if ("wrap" in button.dataset) {
    const wrapped = code.classList.toggle("code--wrapped");
    button.setAttribute("aria-pressed", String(wrapped));
  } else if (code) {
    copy(code.querySelector("pre").textContent, button);
  } else if (button.dataset.copyFrom) {
    copy(document.getElementById(button.dataset.copyFrom).value, button);
  } else {
    copy(button.closest(".message").querySelector(".source").value, button);
  }
});

// Not in the tail of a running answer: it is replaced many times a second.
function decorate(element) {
  if (element.closest(".tail")) return;
  const find = (selector) => [...element.querySelectorAll(selector), ...(element.matches(selector) ? [element] : [])];
  for (const bar of find(".code-bar")) {
    if (!bar.querySelector("button") && !bar.closest(".tail")) bar.append(buttons.content.cloneNode(true));
  }
  for (const wide of find(".body pre, .body .table")) {
    if (wide.scrollWidth > wide.clientWidth && !wide.closest(".tail")) wide.tabIndex = 0;
  }
}

if (thread && buttons) {
  decorate(thread);
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      if (node.nodeType === Node.ELEMENT_NODE && node.isConnected) decorate(node);
    }
  }).observe(thread, { childList: true, subtree: true });
}
