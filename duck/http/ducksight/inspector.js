// What the pages of requests can do beside being read: the list stays up to date, and text is copied.
"use strict";

const EACH_MS = 1000;

const rows = document.getElementById("rows");
if (rows) {
  let tag = null;
  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
        tag = answer.headers.get("ETag");
        if (answer.ok) update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        tag = null; // Duck is away; it may come back.
      }
    }
    setTimeout(look, EACH_MS);
  };
  setTimeout(look, EACH_MS);

  const update = (page) => {
    const known = new Set([...rows.rows].map((row) => row.cells[0].textContent));
    const fresh = page.getElementById("rows");
    if (!fresh) return;
    const focused = document.activeElement?.closest?.("#rows a")?.getAttribute("href");
    rows.replaceChildren(...[...fresh.rows].map((row) => document.importNode(row, true)));
    for (const row of rows.rows) row.classList.toggle("new", !known.has(row.cells[0].textContent));
    if (focused) rows.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.querySelector(".nothing")?.remove();
    const nothing = page.querySelector(".nothing");
    if (nothing) document.getElementById("requests").after(document.importNode(nothing, true));
  };
}

for (const button of document.querySelectorAll("button[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Without a secure context there is no clipboard: the text is chosen, to be copied by hand.
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      source.scrollIntoView({ block: "center" });
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => (button.textContent = label), 2000);
  });
}
