"use strict";
(() => {
  const chinese = document.documentElement.lang.startsWith("zh");
  const words = chinese ? { copy: "複製", copied: "已複製" } : { copy: "Copy", copied: "Copied" };
  const shown = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });

  // Times in the reader's zone; the title keeps what was sent.
  const localize = (root) => {
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
        told.querySelector("[data-instead]")?.remove();
        told.classList.add("told");
        refused.before(document.adoptNode(told));
        localize(form);
      }
    } catch { /* Nobody has answered. */ }
    refused.hidden = false;
    button.disabled = false;
  };

  // What is at work is looked at again, as long as somebody looks.
  const look = async () => {
    const live = document.querySelector("[data-live]");
    if (!live) return;
    if (!document.hidden && !live.contains(document.activeElement)) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const now = page.getElementById(live.id);
        if (answer.ok && now) {
          if (!now.hasAttribute("data-live")) return location.reload();
          live.replaceWith(document.adoptNode(now));
          localize(now);
          offerCopies(now);
        }
      } catch { /* The next look may succeed. */ }
    }
    setTimeout(look, 5000);
  };

  localize(document);
  offerCopies(document);
  document.addEventListener("submit", submit);
  setTimeout(look, 5000);
})();
