// The composer: Enter sends, the draft is kept until the server has taken it, once.

const RESENDS = 3; // a text that makes the server fail must not come back for ever
const form = document.querySelector("[data-composer]");
if (form) attach(form);

function attach(form) {
  const field = form.elements.text;
  const live = form.hasAttribute("ws-send");
  const draft = `draft:${form.getAttribute("action")}`;
  let pending = null; // what was sent and is not acknowledged: {text, body, sends}

  function changed() {
    if (!CSS.supports("field-sizing", "content")) {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight}px`;
    }
    const send = form.querySelector("[data-send]");
    if (send) send.disabled = Boolean(pending) || !field.value.trim();
    sessionStorage.setItem(draft, field.value);
  }

  function wait(value) {
    pending = value;
    form.toggleAttribute("data-pending", Boolean(value));
    changed();
  }

  function acknowledged({ accepted, next }) {
    if (accepted !== form.elements.client_id.value) return;
    if (!pending || field.value === pending.text) field.value = "";
    form.elements.client_id.value = next;
    document.getElementById("notice")?.replaceChildren();
    wait(null);
  }

  // The start page's draft has been taken once there is a conversation that begins with it.
  if (live && document.querySelector(".message--user .source")?.value.trim() === sessionStorage.getItem("draft:/")?.trim()) sessionStorage.removeItem("draft:/");
  field.value ||= sessionStorage.getItem(draft) ?? "";
  changed();
  if (matchMedia("(hover: hover) and (pointer: fine)").matches) field.focus({ preventScroll: true });

  field.addEventListener("input", changed);
  field.addEventListener("keydown", (event) => {
    // isComposing: Enter chooses a word in an input method. On a touch screen Enter is a new line.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (matchMedia("(pointer: coarse)").matches && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    if (field.value.trim()) form.requestSubmit();
  });
  form.addEventListener("click", (event) => {
    if (event.target === form) field.focus();
  });

  // Capturing: htmx listens on the form, too, and must not send what is held back here.
  form.addEventListener("submit", (event) => {
    const ended = document.documentElement.dataset.connection === "ended";
    if (pending || ended || !field.value.trim()) {
      event.preventDefault();
      event.stopImmediatePropagation();
    } else if (live) wait({ text: field.value, body: null, sends: 0 });
  }, true);

  form.addEventListener("htmx:wsAfterSend", ({ detail }) => {
    if (pending) pending = { ...pending, body: detail.message, sends: pending.sends + 1 };
  });

  document.addEventListener("htmx:wsOpen", ({ detail }) => {
    // Sent into a connection that was dying: nobody knows whether it arrived. Its client_id makes
    // it one message. What was never sent is still in htmx's queue and goes by itself.
    if (!pending?.body) return;
    if (pending.sends < RESENDS) detail.socketWrapper.send(pending.body, form);
    else wait(null);
  });

  document.addEventListener("htmx:oobAfterSwap", ({ target }) => {
    if (target.id === "composer-ack") acknowledged(target.dataset);
    else if (target.id === "notice" && target.firstElementChild) wait(null);
    else if (target.id === "composer-action") changed();
  });

  document.addEventListener("click", (event) => {
    const suggestion = event.target.closest("[data-suggestion]");
    if (!suggestion) return;
    field.value = suggestion.dataset.suggestion;
    changed();
    field.focus();
  });
}
