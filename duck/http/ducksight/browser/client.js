// The client: what this server says of changes and faults, shown in the page. It stands in a page of its own server
// alone, keeps one WebSocket, and runs nothing that it was sent.

const tag = document.currentScript;
const [pageAt, pageStatus] = (tag?.dataset.duckSight ?? " 200").split(" ");
const token = new URL(tag?.src ?? location.href).searchParams.get("token") ?? "";
const SEEN = "duck-sight seen";
const isOurs = (node) => node === overlay.element || node === tag || node?.dataset?.duckSight !== undefined;

let socket = null;
let attempts = 0;
let timer = 0;
let commands = 0;
const waiting = new Map();
let isBusy = Promise.resolve();
let isStale = ""; // what is to be done once somebody looks

const command = (message) =>
  new Promise((resolve) => {
    if (socket?.readyState !== WebSocket.OPEN) {
      resolve({ ok: false, text: "Duck cannot be reached." });
      return;
    }
    commands += 1;
    waiting.set(commands, resolve);
    socket.send(JSON.stringify({ ...message, id: commands }));
  });

const overlay = new Overlay({ command, token });
const watcher = watchPage(isOurs);

// A page within a page leaves loads and faults to the one around it, where that has a client, too.
const isInner = (() => {
  try {
    return window.top !== window && window.top.document.querySelector("script[data-duck-sight]") !== null;
  } catch {
    return false; // of another origin
  }
})();

const refreshPage = async () => {
  if (document.readyState === "loading") {
    reloadPage(); // it is still being sent, and may be for ever
    return;
  }
  try {
    const answer = await fetch(location.href, {
      cache: "no-store",
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(10_000),
    });
    // What is wrong is told beside it: the page stays as it is, for it is soon mended.
    if (answer.status >= 500 && (await overlay.isShown())) return;
    const isPage = (answer.headers.get("Content-Type") ?? "").startsWith("text/html");
    if (answer.ok && isPage && !answer.redirected && morphPage(await answer.text(), isOurs, watcher)) return;
  } catch {
    // What a load shows says why.
  }
  reloadPage();
};

const refreshAll = async (paths, isStyle) => {
  for (const path of paths) {
    const isShown = isStyle ? await refreshStyle(path) : await refreshFile(path);
    if (!isShown && wasLoaded(path)) {
      reloadPage();
      return;
    }
  }
};

const act = (message) => {
  if (message.type === "style" || message.type === "static") return refreshAll(message.urls, message.type === "style");
  if (message.type === "template") return refreshPage();
  if (message.type === "reload" && !isInner) reloadPage();
  return undefined;
};

// One after the other; and what nobody sees waits until somebody does.
const change = (message) => {
  if (document.visibilityState === "hidden") {
    if (isStale !== "reload") isStale = message.type === "reload" ? "reload" : "template";
    return;
  }
  isBusy = isBusy.then(() => act(message)).catch((error) => console.error("DuckSight:", error));
};
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" || !isStale) return;
  const type = isStale;
  isStale = "";
  change({ type });
});

// Where things stand: a page that was made before something happened that it has not heard of loads itself again, once.
const compare = (at) => {
  if (at === pageAt || at === heard) {
    heard = at;
    return;
  }
  heard = at;
  let seen = "";
  try {
    seen = sessionStorage.getItem(SEEN);
    sessionStorage.setItem(SEEN, `${at} ${location.href}`);
  } catch {
    return;
  }
  if (seen !== `${at} ${location.href}`) change({ type: "reload" });
};
let heard = pageAt;

const hear = (message) => {
  if (message.type === "hello") {
    overlay.editor = message.editor ?? "";
    compare(message.at);
    return;
  }
  if (message.type === "reply") {
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
    return;
  }
  heard = message.at;
  if (message.type === "notice") {
    if (!isInner) overlay.remind(message.fault);
    return;
  }
  if (message.type === "fault") {
    // One of this page that was told before it loaded counts where it failed: else that is over.
    const isOver = message.kept && Number(pageStatus) < 400;
    if (!isInner && !isOver) overlay.show(message.fault, message.page !== undefined);
    return;
  }
  if (message.type === "mended" || message.type === "reload") overlay.mend();
  if (message.type === "template" && overlay.kind === "template") overlay.mend();
  change(message);
};

const connect = () => {
  clearTimeout(timer);
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  const address = new URL("/.duck/socket", location.origin);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("token", token);
  address.searchParams.set("page", location.pathname + location.search);
  socket = new WebSocket(address);
  socket.onopen = () => (attempts = 0);
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = () => {
    for (const resolve of waiting.values()) resolve({ ok: false, text: "The connection to Duck broke." });
    waiting.clear();
    // Soon at first, for Duck starts again in place; a Duck that stays away is asked every few seconds.
    const delay = Math.min(100 * 1.6 ** attempts, 5000) * (0.75 + Math.random() / 2);
    attempts += 1;
    timer = setTimeout(connect, delay);
  };
};

addEventListener("pagehide", () => {
  clearTimeout(timer);
  if (socket) {
    socket.onclose = null;
    socket.close(); // a page that is kept in memory has no connections
  }
});
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    attempts = 0;
    connect();
  }
});
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", restorePage, { once: true });
else restorePage();
connect();
