// What the checks stand on: the fixtures, the browser, and a page that tells of everything that goes wrong in it.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { get as ask } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.BROWSER_MODULES);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const LANGUAGES = ["en", "zh-TW"];
export const SCHEMES = ["light", "dark"];
export const WIDTHS = [390, 1280];
const ZONES = { en: "UTC", "zh-TW": "Asia/Taipei" };

/** Starts the fixtures; `{ states, end }`. */
export async function fixtures() {
  const child = spawn(process.env.PAGES, { stdio: ["pipe", "pipe", "inherit"] });
  const states = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "ready") {
      const end = () => new Promise((ended) => { child.on("exit", ended); child.stdin.end(); });
      return { states, end };
    }
    states.push(JSON.parse(line));
  }
  throw new Error("the fixtures ended before they were ready");
}

export function browser() {
  // Root has no sandbox to be put into.
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM, args });
}

/** A page of a state, whose `wrong` lists what the browser complains of. */
export async function open(browser, state, { language = "en", width = 1280, scheme = "light", ...more } = {}) {
  const context = await browser.newContext({
    baseURL: state.url,
    locale: language,
    timezoneId: ZONES[language],
    colorScheme: scheme,
    reducedMotion: "reduce",
    viewport: { width, height: 900 },
    extraHTTPHeaders: state.more?.headers,
    ...more,
  });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    // The page of what is not there, or was refused, is answered so on purpose.
    const isAnswer = message.text().startsWith("Failed to load resource") && message.location().url === page.url();
    if (["error", "warning"].includes(message.type()) && !isAnswer) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`script: ${error}`));
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText;
    if (why !== "net::ERR_ABORTED") wrong.push(`${request.url()}: ${why}`);
  });
  await page.exposeFunction("tellOfPolicy", (what) => wrong.push(`policy: ${what}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      window.tellOfPolicy(`${event.violatedDirective} blocked ${event.blockedURI || event.sourceFile}`));
  });
  return { page, wrong, close: () => context.close() };
}

/** Goes there; the page is whole then, also a long one, which is painted in two frames. */
export async function visit(page, path) {
  await page.goto(path, { waitUntil: "load" });
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
}

/** `{ body, headers }` of an answer as it was sent. Node's `fetch` says that it is a browser. */
export function get(url, headers = {}) {
  return new Promise((done, failed) => ask(url, { headers }, (answer) => {
    const chunks = [];
    answer.on("data", (chunk) => chunks.push(chunk));
    answer.on("end", () => done({ body: Buffer.concat(chunks), headers: answer.headers }));
    answer.on("error", failed);
  }).on("error", failed));
}

/** What axe finds. */
export async function axe(page) {
  await page.evaluate(`window.axe || (() => { ${AXE} })()`);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map(({ target, failureSummary }) => `axe: ${id}: ${target}: ${failureSummary.split("\n").slice(0, 2).join(" ")}`));
}
