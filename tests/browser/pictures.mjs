// Pictures of the pages, for eyes, and those of the documents.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { open, visit } from "./stage.mjs";

/** Names of the machine at hand are none that a reader has. */
async function disguise(page) {
  await page.evaluate(() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      texts.currentNode.data = texts.currentNode.data
        .replace(/http:\/\/127\.0\.0\.1:\d+/g, "http://localhost:6333")
        .replace(/\/(var\/)?tmp\/\.tmp\w+/g, "/srv/backups")
        .replace(/service under test/g, "backup-vm/4242");
    }
  });
}

/** The page as a PNG; what is longer than it is worth is cut. */
export async function take(page, file, height) {
  await disguise(page);
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  const { width } = page.viewportSize();
  await page.screenshot({ path: file, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(whole, height ?? 3200) } });
}

/** Those of the documents: file, state, page, form, and height. */
const DOCUMENTS = [
  ["overview-good.png", "good", () => "/", { scheme: "light" }, 900],
  ["overview-at-risk-dark.png", "stale", () => "/", { scheme: "dark" }, 900],
  ["restore-plan.png", "journey", (paths) => paths.find((path) => path.includes("target=overwrite")), { scheme: "light" }, 1000],
  ["overview-zh-TW.png", "partial", () => "/", { scheme: "light", language: "zh-TW" }, 800],
];

export async function forDocuments(browser, states) {
  mkdirSync("docs/images", { recursive: true });
  for (const [file, name, path, form, height] of DOCUMENTS) {
    const state = states.find((state) => state.state === name);
    const { page, close } = await open(browser, state, form);
    await visit(page, path(state.paths));
    await take(page, join("docs/images", file), height);
    await close();
  }
}
