// Overlay: a fault over the page, in a tree of its own that the page's styles do not reach into. All that is shown is
// text; nothing that comes from outside becomes markup.

const KINDS = {
  import: "Import error",
  syntax: "Syntax error",
  template: "Template error",
  checks: "System check",
  migrations: "Migrations",
  error: "Error",
};

const make = (name, properties = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element[key] = value;
    else if (key in element && key !== "href") element[key] = value;
    else if (value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
};

class Overlay {
  constructor({ command }) {
    this.command = command;
    this.editor = "";
    this.kind = "";
    this.element = document.createElement("duck-sight");
    this.fault = null;
    this.notice = null; // what breaks nothing: a word in the corner, where there is no fault
    this.dialog = null;
    this.pill = null;
    this.root = null;
  }

  // Show `fault`; one that can wait, or was put away before, only as a word in the corner.
  show(fault, isOfThisPage) {
    const isSame = this.fault !== null && JSON.stringify(this.fault) === JSON.stringify(fault);
    if (isSame) return;
    this.hide();
    this.fault = fault;
    this.kind = fault.kind;
    this.attach();
    if (fault.quiet && !(isOfThisPage && fault.kind !== "error")) this.minimize();
    else this.open();
  }

  remind(notice) {
    const isFree = this.fault === null || this.fault === this.notice;
    this.notice = notice;
    if (!isFree) return;
    if (notice === null) this.hide();
    else this.show(notice, false);
  }

  // The fault is over.
  mend() {
    if (this.fault !== null && this.fault === this.notice) return;
    this.hide();
    if (this.notice !== null) this.show(this.notice, false);
  }

  // Whether a fault that cannot wait is there, now or in a moment: it comes by another way than the answer does.
  async isShown() {
    for (let tries = 0; tries < 20; tries += 1) {
      if (this.fault !== null && this.fault !== this.notice) return !this.fault.quiet;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    return false;
  }

  hide() {
    this.fault = null;
    this.kind = "";
    const dialog = this.dialog;
    this.dialog = null;
    if (dialog?.open) dialog.close();
    dialog?.remove();
    this.pill?.remove();
    this.pill = null;
    this.element.remove();
  }

  attach() {
    if (this.root === null) {
      this.root = this.element.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet(); // which no policy of the page's forbids
      sheet.replaceSync(STYLES);
      this.root.adoptedStyleSheets = [sheet];
    }
    document.documentElement.append(this.element);
  }

  open() {
    this.pill?.remove();
    this.pill = null;
    this.dialog?.remove();
    this.dialog = this.render(this.fault);
    this.root.append(this.dialog);
    // The browser keeps what had the focus, and gives it back when this is closed.
    this.dialog.showModal();
    this.dialog.focus({ preventScroll: true });
    const dialog = this.dialog;
    dialog.onclose = () => {
      dialog.remove();
      if (this.dialog === dialog) {
        this.dialog = null;
        if (this.fault !== null) this.minimize();
      }
    };
  }

  minimize() {
    const { kind, title } = this.fault;
    this.pill?.remove();
    this.pill = make(
      "button",
      { className: "pill", type: "button", title: "Show it", onclick: () => this.open() },
      make("span", { className: "dot" }),
      make("b", {}, KINDS[kind] ?? KINDS.error),
      make("span", { className: "what" }, title),
    );
    this.root.append(this.pill);
  }

  render(fault) {
    const [own, others] = [fault.frames.filter((frame) => frame.own), fault.frames.filter((frame) => !frame.own)];
    const [first, ...rest] = own.length ? own : others;
    const more = own.length ? rest : [];
    const libraries = own.length ? others : rest;
    return make(
      "dialog",
      { tabIndex: -1, "aria-labelledby": "title" },
      make(
        "article",
        {},
        make(
          "header",
          { className: "top" },
          make("span", { className: "kind" }, KINDS[fault.kind] ?? KINDS.error),
          make("span", { className: "space" }),
          this.copyButton(fault),
          make("button", { type: "button", className: "quiet", onclick: () => this.dialog?.close() }, "Close ", make("kbd", {}, "Esc")),
        ),
        make("h1", { id: "title" }, fault.title),
        fault.message ? make("p", { className: "message" }, fault.message) : null,
        fault.command
          ? make("p", { className: "message" }, "Run ", make("code", { className: "command" }, fault.command), ", then apply what it has made.")
          : null,
        fault.remedy === "migrate" ? this.remedy() : null,
        first ? this.frame(first, true) : null,
        ...more.map((frame) => this.frame(frame, false)),
        libraries.length
          ? make(
              "details",
              { className: "libraries" },
              make("summary", {}, libraries.length === 1 ? "1 frame of a library" : `${libraries.length} frames of libraries`),
              ...libraries.map((frame) => this.frame(frame, false)),
            )
          : null,
        fault.details ? make("pre", { className: "details", tabIndex: 0 }, fault.details) : null,
        make("footer", {}, "This goes away by itself as soon as it is mended."),
      ),
    );
  }

  frame(frame, isOpen) {
    const source = frame.source?.length
      ? make(
          "pre",
          { className: "source", tabIndex: 0 },
          make(
            "code",
            {},
            ...frame.source.map(([number, text]) =>
              make(
                "span",
                { className: number === frame.line ? "line failing" : "line" },
                make("span", { className: "number", "aria-hidden": "true" }, String(number)),
                make("span", { className: "text" }, text === "" ? " " : text),
              ),
            ),
          ),
        )
      : null;
    const caption = [
      this.place(frame),
      frame.function ? make("span", { className: "function" }, "in ", make("code", {}, frame.function)) : null,
    ];
    if (source === null) return make("div", { className: frame.own ? "frame own" : "frame" }, make("p", {}, ...caption));
    const details = make(
      "details",
      { className: frame.own ? "frame own" : "frame", open: isOpen },
      make("summary", {}, ...caption),
      source,
    );
    return details;
  }

  // The file and its line: a link where an editor is known.
  place(frame) {
    const text = [frame.shown ?? frame.file, make("b", {}, frame.line ? `:${frame.line}` : "")];
    if (!this.editor || frame.file.startsWith("<")) return make("span", { className: "place", title: frame.file }, ...text);
    if (this.editor === "command") {
      const open = async (event) => {
        event.preventDefault();
        const answer = await this.command({ type: "open", file: frame.file, line: frame.line });
        if (!answer.ok) event.target.closest("a")?.setAttribute("title", answer.text);
      };
      return make("a", { className: "place", href: "#", title: "Open it in the editor", onclick: open }, ...text);
    }
    const path = frame.file.replaceAll("\\", "/").split("/").map(encodeURIComponent).join("/");
    const href = this.editor
      .replace("{file}", path.startsWith("/") ? path : `/${path}`)
      .replace("{line}", String(frame.line || 1));
    return make("a", { className: "place", href, title: "Open it in the editor" }, ...text);
  }

  remedy() {
    const output = make("pre", { className: "details", hidden: true });
    const button = make("button", { type: "button", className: "remedy" }, "Apply migrations");
    button.onclick = async () => {
      button.disabled = true;
      button.textContent = "Applying migrations…";
      const answer = await this.command({ type: "migrate" });
      button.textContent = answer.ok ? "Migrations are applied" : "Try again";
      button.disabled = answer.ok;
      output.textContent = answer.text ?? "";
      output.hidden = answer.ok || !answer.text;
    };
    return make("div", {}, button, output);
  }

  copyButton(fault) {
    const button = make("button", { type: "button", className: "quiet" }, "Copy");
    button.onclick = async () => {
      let isDone = true;
      try {
        await navigator.clipboard.writeText(asText(fault));
      } catch {
        isDone = false; // not allowed here
      }
      button.textContent = isDone ? "Copied" : "Cannot be copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    };
    return button;
  }
}

// The fault as one would paste it into a message.
const asText = (fault) => {
  const frames = fault.frames.map((frame) => {
    const lines = (frame.source ?? []).map(
      ([number, text]) => `${number === frame.line ? "  >" : "   "} ${String(number).padStart(4)}  ${text}`,
    );
    const within = frame.function ? `, in ${frame.function}` : "";
    return [`${frame.file}:${frame.line}${within}`, ...lines].join("\n");
  });
  return [fault.title, fault.message, fault.command, ...frames, fault.details].filter(Boolean).join("\n\n") + "\n";
};
