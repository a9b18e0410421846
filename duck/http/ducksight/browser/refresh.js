// Refresh: files that have changed, shown in the page as it stands. Nothing here asks anybody but this server.

// An address that no cache has an answer for.
let refreshed = 0;
const fresh = (address) => {
  const url = new URL(address, document.baseURI);
  url.searchParams.set("duck-sight", String(++refreshed));
  return url.href;
};
const pathOf = (address, base = document.baseURI) => {
  try {
    const url = new URL(address, base);
    return url.origin === location.origin ? url.pathname : "";
  } catch {
    return "";
  }
};
const once = (target, types, deadline = 5000) =>
  new Promise((resolve) => {
    const done = (event) => resolve(event ? event.type : "late");
    for (const type of types) target.addEventListener(type, done, { once: true });
    setTimeout(done, deadline);
  });

// -- style sheets ---------------------------------------------------------------------------------------------------

// The page's own address of a style sheet, by the element that stands for it now: what a template is compared with.
const ownAddress = new WeakMap();

// The new one is loaded before the old one goes: the page is never without it.
const swapLink = async (link) => {
  const next = link.cloneNode();
  next.nonce = link.nonce;
  ownAddress.set(next, ownAddress.get(link) ?? link.getAttribute("href"));
  next.href = fresh(link.href);
  const loaded = once(next, ["load", "error"]);
  link.after(next);
  await loaded;
  // One whose imports are not allowed has an error, and is a style sheet.
  if (next.sheet !== null) link.remove();
  else next.remove();
};

// A style sheet that another one imports is changed where it is imported: a rule with another address beside it.
const swapImport = async (parent, rule) => {
  const index = [...parent.cssRules].indexOf(rule);
  const text = rule.cssText.replace(/url\((["']?).*?\1\)/, () => `url("${fresh(rule.styleSheet?.href ?? rule.href)}")`);
  parent.insertRule(text, index + 1);
  const next = parent.cssRules[index + 1];
  for (let tries = 0; tries < 100; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    try {
      if (next.styleSheet && next.styleSheet.cssRules) break;
    } catch {
      break; // of another origin: nobody may look into it
    }
  }
  const old = [...parent.cssRules].indexOf(rule);
  if (old >= 0) parent.deleteRule(old);
};

const rulesOf = (sheet) => {
  try {
    return [...sheet.cssRules];
  } catch {
    return [];
  }
};

const refreshStyle = (path) => {
  const work = [];
  for (const link of document.querySelectorAll('link[rel~="stylesheet"][href]')) {
    if (pathOf(link.href) === path) work.push(swapLink(link));
  }
  const visit = (sheet) => {
    for (const rule of rulesOf(sheet)) {
      if (!(rule instanceof CSSImportRule)) continue;
      if (pathOf(rule.styleSheet?.href ?? rule.href, sheet.href ?? document.baseURI) === path) {
        work.push(swapImport(sheet, rule));
      } else if (rule.styleSheet) {
        visit(rule.styleSheet);
      }
    }
  };
  for (const sheet of document.styleSheets) visit(sheet);
  return Promise.all(work).then((all) => all.length > 0);
};

// -- images and other files -----------------------------------------------------------------------------------------

const ADDRESSES = [
  ["img", "src"], ["input[type=image]", "src"], ["video", "poster"], ["video", "src"], ["audio", "src"],
  ["source", "src"], ["track", "src"], ["embed", "src"], ["object", "data"], ["link[rel~=icon]", "href"],
  ["link[rel~=apple-touch-icon]", "href"], ["image", "href"], ["use", "href"],
];
const URLS = /url\(\s*(["']?)(.*?)\1\s*\)/g;

// Every `url(...)` of one of `path` in a declaration, made anew.
const refreshDeclaration = (style, path, base) => {
  let count = 0;
  for (const name of [...style]) {
    const value = style.getPropertyValue(name);
    if (!value.includes("url(")) continue;
    const next = value.replace(URLS, (whole, quote, address) => {
      if (pathOf(address, base) !== path) return whole;
      count += 1;
      return `url("${fresh(new URL(address, base).href)}")`;
    });
    if (next !== value) style.setProperty(name, next, style.getPropertyPriority(name));
  }
  return count;
};

const refreshRules = (rules, path, base) => {
  let count = 0;
  for (const rule of rules) {
    if (rule instanceof CSSImportRule) {
      if (rule.styleSheet) count += refreshRules(rulesOf(rule.styleSheet), path, rule.styleSheet.href ?? base);
    } else {
      if (rule.style) count += refreshDeclaration(rule.style, path, base);
      if (rule.cssRules) count += refreshRules([...rule.cssRules], path, base);
    }
  }
  return count;
};

const refreshFile = async (path) => {
  let count = 0;
  // What the browser keeps under the address as it is, is right from now on, too.
  await fetch(path, { cache: "reload" }).then((answer) => answer.arrayBuffer()).catch(() => undefined);
  for (const [selector, name] of ADDRESSES) {
    for (const element of document.querySelectorAll(`${selector}[${name}]`)) {
      const address = element.getAttribute(name);
      if (pathOf(address) === path) {
        element.setAttribute(name, fresh(address));
        count += 1;
      }
    }
  }
  for (const element of document.querySelectorAll("[srcset]")) {
    const set = element.getAttribute("srcset");
    const next = set.replace(/(^|,\s*)([^\s,]+)/g, (whole, before, address) =>
      pathOf(address) === path ? before + fresh(address) : whole,
    );
    if (next !== set) {
      element.setAttribute("srcset", next);
      count += 1;
    }
  }
  for (const element of document.querySelectorAll("[style]")) {
    count += refreshDeclaration(element.style, path, document.baseURI);
  }
  for (const sheet of document.styleSheets) {
    count += refreshRules(rulesOf(sheet), path, sheet.href ?? document.baseURI);
  }
  return count > 0;
};

// Whether the page has used a file at all: a script of it, a font, something that it has fetched.
const wasLoaded = (path) =>
  [...document.querySelectorAll("script[src]")].some((script) => pathOf(script.src) === path) ||
  performance.getEntriesByType("resource").some((entry) => pathOf(entry.name) === path);

// -- the whole page -------------------------------------------------------------------------------------------------

// What scripts and people have made of the page since it was read: it stays.
const MOST_MADE = 5000;
let made = new Set();
const served = new WeakMap(); // by element, what the server said of attributes that were changed
let isRewritten = false; // a script has taken away what the server said: it alone knows what belongs there
const isMade = (node) => {
  for (let one = node; one; one = one.parentNode) if (made.has(one)) return true;
  return false;
};
const watchPage = (isOurs) => {
  const note = (records) => {
    for (const record of records) {
      if (record.type === "childList") {
        for (const node of record.addedNodes) if (!isOurs(node)) made.add(node);
        if (document.body?.contains(record.target) && !isMade(record.target)) {
          isRewritten ||= [...record.removedNodes].some((node) => !made.has(node) && !isOurs(node) && isSeen(node));
        }
      } else if (!isOurs(record.target)) {
        const before = served.get(record.target) ?? new Map();
        if (!before.has(record.attributeName)) before.set(record.attributeName, record.oldValue);
        served.set(record.target, before);
      }
    }
    if (made.size > MOST_MADE) made = new Set([...made].filter((node) => node.isConnected));
    isRewritten ||= made.size > MOST_MADE;
  };
  const isSeen = (node) =>
    node.nodeType === Node.ELEMENT_NODE || (node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
  const observer = new MutationObserver(note);
  const begin = () =>
    observer.observe(document, { subtree: true, childList: true, attributes: true, attributeOldValue: true });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin, { once: true });
  else begin();
  return {
    pause: () => {
      note(observer.takeRecords());
      observer.disconnect();
    },
    resume: begin,
  };
};

// Take what scripts have added out of the page, and give what puts it back: nothing of it is to be taken for something
// that the server said.
const setAside = () => {
  const places = [];
  for (const node of [...made]) {
    if (!node.isConnected) made.delete(node);
    else if (!isMade(node.parentNode) && !ownAddress.has(node)) {
      const place = document.createComment("");
      node.replaceWith(place);
      places.push([place, node]);
    }
  }
  return {
    isPlace: (node) => places.some(([place]) => place === node),
    putBack: () => {
      for (const [place, node] of places) {
        if (place.isConnected) place.replaceWith(node);
        else made.delete(node);
      }
    },
  };
};

const RUNS = /^(|module|text\/javascript|application\/javascript|text\/ecmascript|application\/ecmascript)$/i;
const scriptsOf = (root, isOurs) =>
  [...root.querySelectorAll("script")]
    .filter((script) => RUNS.test(script.type) && !isOurs(script) && !isMade(script))
    .map((script) => (script.src ? `src ${script.getAttribute("src")}` : `text ${script.textContent}`))
    .join("\n");

// What somebody has typed or chosen is theirs.
const isTouched = (element, attribute) => {
  if (attribute === "checked") return element.checked !== element.defaultChecked;
  if (attribute === "selected") {
    const select = element.closest("select");
    return select !== null && [...select.options].some((one) => one.selected !== one.defaultSelected);
  }
  if (attribute !== "value") return false;
  return ["INPUT", "TEXTAREA"].includes(element.tagName) && element.type !== "hidden" &&
    element.value !== element.defaultValue;
};

// Parsed without being run; where the page allows markup from listed sources alone, this is one (Trusted Types).
const policy = window.trustedTypes?.createPolicy("duck-sight", { createHTML: (text) => text });
const parsePage = (text) => new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");

// Put `text`, the page as it is now, into the document; false where that would not show it as it is.
const morphPage = (text, isOurs, watcher) => {
  const next = parsePage(text);
  const [x, y] = [scrollX, scrollY];
  watcher.pause();
  const aside = setAside();
  try {
    if (isRewritten || !document.body || !next.body || document.body.tagName !== next.body.tagName) return false;
    if (next.compatMode !== document.compatMode) return false;
    if (scriptsOf(document, isOurs) !== scriptsOf(next, isOurs)) return false;
    // A browser hides nonces of what stands in a page, and they differ from answer to answer.
    for (const element of next.querySelectorAll("[nonce]")) element.setAttribute("nonce", "");
    const nonce = document.querySelector("script")?.nonce ?? "";
    for (const link of document.querySelectorAll('link[rel~="stylesheet"]')) {
      const own = ownAddress.get(link);
      if (own === undefined) continue;
      for (const same of next.querySelectorAll('link[rel~="stylesheet"]')) {
        if (same.getAttribute("href") === own) same.setAttribute("href", link.getAttribute("href"));
      }
    }
    for (const own of document.querySelectorAll("head > script[data-duck-sight]")) next.head.prepend(own.cloneNode());
    const partner = new WeakMap();
    Idiomorph.morph(document.documentElement, next.documentElement, {
      head: { style: "morph" },
      callbacks: {
        beforeNodeAdded: (node) => {
          if (node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("nonce")) node.nonce = nonce;
          return true;
        },
        beforeNodeRemoved: (node) => !isOurs(node) && !aside.isPlace(node),
        beforeNodeMorphed: (old, fresh) => {
          if (isOurs(old) || aside.isPlace(old)) return false;
          partner.set(old, fresh);
          return true;
        },
        // Of three, the server's word before, its word now, and what was made of the first, the change counts.
        beforeAttributeUpdated: (name, element) => {
          if (name === "nonce" || isTouched(element, name)) return false;
          const before = served.get(element);
          const now = partner.get(element)?.getAttribute(name) ?? null;
          return !(before?.has(name) && before.get(name) === now);
        },
      },
    });
    aside.putBack();
    scrollTo({ left: x, top: y, behavior: "instant" });
    return true;
  } finally {
    aside.putBack();
    watcher.resume();
  }
};

// -- what survives a load -------------------------------------------------------------------------------------------

const KEPT = "duck-sight kept";
const fieldsOf = (root) => [...root.querySelectorAll("input, textarea, select")];
const nameOf = (element, index) => `${element.tagName} ${element.type} ${element.name} ${element.id || index}`;

// Load the page again; where it is scrolled to, and what was typed and chosen, is there again afterwards.
const reloadPage = () => {
  const fields = fieldsOf(document).flatMap((element, index) => {
    if (["hidden", "password", "file"].includes(element.type)) return [];
    const isChanged =
      element.tagName === "SELECT"
        ? [...element.options].some((one) => one.selected !== one.defaultSelected)
        : element.value !== element.defaultValue || element.checked !== element.defaultChecked;
    if (!isChanged) return [];
    const chosen = element.tagName === "SELECT" ? [...element.options].map((one) => one.selected) : null;
    return [[nameOf(element, index), { value: element.value, checked: element.checked, chosen }]];
  });
  const active = document.activeElement;
  const focus = fieldsOf(document).includes(active) ? nameOf(active, fieldsOf(document).indexOf(active)) : "";
  const kept = { address: location.href, when: Date.now(), x: scrollX, y: scrollY, fields, focus };
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // No room, or no right: then it is an ordinary load.
  }
  location.reload();
};

const restorePage = () => {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT));
    sessionStorage.removeItem(KEPT);
  } catch {
    return;
  }
  if (!kept || kept.address !== location.href || Date.now() - kept.when > 60_000) return;
  const fields = new Map(fieldsOf(document).map((element, index) => [nameOf(element, index), element]));
  for (const [name, { value, checked, chosen }] of kept.fields) {
    const element = fields.get(name);
    if (!element) continue;
    if (chosen) [...element.options].forEach((one, index) => (one.selected = chosen[index] ?? one.selected));
    else if (["checkbox", "radio"].includes(element.type)) element.checked = checked;
    else element.value = value;
  }
  fields.get(kept.focus)?.focus({ preventScroll: true });
  scrollTo({ left: kept.x, top: kept.y, behavior: "instant" });
};
