// The connection: notices within 2 s that it is lost, says so, and brings it back.

const RUNNING = "[data-state=streaming], [data-state=waiting]";
const RUNNING_LIMIT_MS = 1700; // the server sends something each half second while an answer runs,
const QUIET_LIMIT_MS = 21_000; // and every ten seconds otherwise
const CONNECT_LIMIT_MS = 8000;
const ENDS = { 4400: "outdated", 4401: "signed-out", 4403: "closed", 4404: "closed" };

const slot = document.querySelector("[data-connection-slot]");
const root = document.documentElement;
let socket, wrapper, retry, heard = 0, started = 0, failures = 0, shown = "open";

function show(name) {
  if (name === shown) return;
  shown = name;
  root.dataset.connection = name === "open" || name === "lost" ? name : "ended";
  const template = document.querySelector(`template[data-connection="${name}"]`);
  slot.replaceChildren(...(template ? [template.content.cloneNode(true)] : []));
}

function open(url) {
  const address = new URL(url);
  // What the first page had seen says nothing about what has been shown since.
  if (socket) address.searchParams.delete("seen");
  started = Date.now();
  socket = new WebSocket(address);
  return socket;
}

function reconnect() {
  clearTimeout(retry);
  if (!wrapper || root.dataset.connection === "ended") return;
  // A dead connection may report its end minutes later; htmx would then replace the living one.
  socket.onclose = socket.onerror = null;
  socket.close();
  wrapper.reconnect();
}

function lose(delay = Math.random() * Math.min(1000 * 2 ** failures, 10_000)) {
  if (root.dataset.connection === "ended") return;
  failures += 1;
  show("lost");
  clearTimeout(retry);
  retry = setTimeout(reconnect, delay);
}

function check() {
  if (!socket || root.dataset.connection === "ended") return;
  const limit = document.querySelector(RUNNING) ? RUNNING_LIMIT_MS : QUIET_LIMIT_MS;
  const now = Date.now();
  if (socket.readyState === WebSocket.OPEN && now - heard > limit) lose(0);
  if (socket.readyState === WebSocket.CONNECTING && now - started > CONNECT_LIMIT_MS) lose(0);
}

if (slot) {
  htmx.createWebSocket = open;
  // All reconnecting is done here; two timers would close each other's connections.
  htmx.config.wsReconnectDelay = () => 2 ** 31 - 1;

  document.addEventListener("htmx:wsOpen", ({ detail }) => {
    wrapper = detail.socketWrapper;
    heard = Date.now();
    failures = 0;
    clearTimeout(retry);
    show("open");
  });
  document.addEventListener("htmx:wsBeforeMessage", () => {
    heard = Date.now();
    if (shown === "lost") show("open");
  });
  document.addEventListener("htmx:wsClose", ({ detail }) => {
    wrapper = detail.socketWrapper;
    if (detail.event.target !== socket) return;
    if (ENDS[detail.event.code]) show(ENDS[detail.event.code]);
    else lose();
  });
  addEventListener("offline", () => root.dataset.connection === "ended" || show("lost"));
  addEventListener("online", () => lose(0));
  addEventListener("pageshow", (event) => event.persisted && lose(0));
  document.addEventListener("visibilitychange", check);
  setInterval(check, 250);
}
