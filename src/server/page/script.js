"use strict";
(() => {
  const chinese = document.documentElement.lang.startsWith("zh");
  const words = chinese ? { copy: "複製", copied: "已複製" } : { copy: "Copy", copied: "Copied" };

  // Times in the reader's zone; the title keeps what was sent.
  const localize = (root) => {
    const shown = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) time.textContent = shown.format(at);
    }
  };

  const offerCopies = (root) => {
    if (!navigator.clipboard) return;
    for (const command of root.querySelectorAll("[data-command]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words.copy;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(command.querySelector("code").textContent);
        button.textContent = words.copied;
      });
      command.append(button);
    }
  };

  // A proxy in between may refuse what a form sends: then the command is shown in its place.
  const submit = async (event) => {
    const form = event.target.closest("form[data-action]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    const refused = form.querySelector(".refused");
    let isTold = false;
    button.disabled = true;
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" },
      });
      if (answer.ok) return location.assign(answer.url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const told = page.querySelector("main [data-refused]");
      form.querySelector(".told")?.remove();
      if (told) {
        isTold = !told.querySelector("[data-instead]");
        told.querySelector("[data-instead]")?.remove();
        told.classList.add("told");
        refused.before(document.adoptNode(told));
        localize(form);
      }
    } catch { /* Nobody has answered. */ }
    refused.hidden = isTold;
    button.disabled = false;
  };

  // The new content in place of the old, with the same details open and the same thing in focus.
  const replace = (live, now) => {
    const all = (root, what) => [...root.querySelectorAll(what)];
    const reachable = "a[href], button, summary";
    const open = all(live, "details").map((details) => details.open);
    const at = all(live, reachable).indexOf(document.activeElement);
    live.replaceWith(document.adoptNode(now));
    localize(now);
    offerCopies(now);
    all(now, "details").forEach((details, number) => { details.open = Boolean(open[number]); });
    if (at >= 0) all(now, reachable)[at]?.focus({ preventScroll: true });
  };

  // What changes is looked at again, as long as somebody looks, and nobody types or marks something in it.
  const look = async () => {
    const live = document.querySelector("[data-live]");
    if (!live) return;
    const isTyping = live.contains(document.activeElement) && document.activeElement.matches("input");
    if (!document.hidden && !isTyping && getSelection().isCollapsed) {
      let answer;
      try {
        answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const now = answer.ok && page.getElementById(live.id);
        if (now && !now.hasAttribute("data-live")) return location.reload();
        if (now) {
          replace(live, now);
          document.title = page.title;
        }
      } catch { /* The next look may succeed. */ }
      document.getElementById("lost").hidden = Boolean(answer?.ok);
    }
    again();
  };
  const again = () => {
    const live = document.querySelector("[data-live]");
    if (live) setTimeout(look, live.dataset.live * 1000);
  };

  document.addEventListener("submit", submit);
  // The page is seen first, as it was sent: a long one in two frames.
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
    document.body.classList.remove("long");
    localize(document);
    offerCopies(document);
    again();
  })));
})();
