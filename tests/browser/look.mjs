// What holds for each page in each form.

import { axe } from "./stage.mjs";

/** Everything that is wrong with the page as it is now; `where` says which one it is. */
export async function look(page, wrong, where) {
  const found = [...(await axe(page)), ...(await frame(page)), ...wrong.splice(0)];
  return found.map((what) => `${where}: ${what}`);
}

async function frame(page) {
  return page.evaluate(() => {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) {
      const wide = [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1)
        .map((element) => `${element.tagName.toLowerCase()}.${element.className}`);
      found.push(`it scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}: ${wide.slice(0, 4).join(", ")}`);
    }
    const status = document.querySelector("main [role=status]");
    if (location.pathname === "/" && document.title !== `${status?.textContent} · qdrant-backup`) {
      found.push(`the title is ${document.title}, the status ${status?.textContent}`);
    }
    if (document.querySelectorAll("h1").length !== 1) found.push("it has not one h1");
    return found;
  });
}
