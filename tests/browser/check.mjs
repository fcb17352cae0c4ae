// Looks at each state of examples/pages in each form, see check.sh. Prints what is wrong, and fails if anything is.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { findFaults } from "./faults.mjs";
import { keepsPlace, restore, throughProxy, withoutScript } from "./journeys.mjs";
import { tabThrough } from "./keyboard.mjs";
import { look } from "./look.mjs";
import { forDocuments, take } from "./pictures.mjs";
import { LANGUAGES, SCHEMES, WIDTHS, browser as launch, fixtures, open, visit } from "./stage.mjs";
import { weigh } from "./weight.mjs";

const [option, folder] = process.argv.slice(2);
const { states, end } = await fixtures();
const browser = await launch();
const state = (name) => states.find((state) => state.state === name);
const found = [];
let looks = 0;

async function step(name, work) {
  const began = Date.now();
  try {
    found.push(...((await work()) ?? []));
  } catch (error) {
    found.push(`${name}: ${error.stack ?? error}`);
  }
  console.log(`-- ${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
}

/** Of the pages beside the overview half the forms: each language, scheme and width is among them. */
function isWanted(language, scheme, width) {
  const odd = [LANGUAGES.indexOf(language), SCHEMES.indexOf(scheme), WIDTHS.indexOf(width)].reduce((a, b) => a + b) % 2;
  return odd === 0;
}

/** All pages of a state in one language. `each` gets the page in each form. */
async function allForms(state, language, each) {
  const { page, wrong, close } = await open(browser, state, { language });
  for (const [number, path] of ["/", ...state.paths].entries()) {
    await visit(page, path);
    if (number === 0 && (await page.locator(state.shows).count()) === 0) found.push(`${state.state}: there is no ${state.shows}`);
    for (const scheme of SCHEMES) {
      for (const width of WIDTHS) {
        if (number > 0 && !isWanted(language, scheme, width)) continue;
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height: 900 });
        await each({ page, wrong, number, name: [state.state, ...(number ? [number] : []), language, scheme, width].join("-"), path });
        looks++;
      }
    }
  }
  await close();
}

async function lookAt(state) {
  const told = [];
  for (const language of LANGUAGES) {
    await allForms(state, language, async ({ page, wrong, name, path }) => {
      told.push(...(await look(page, wrong, `${name} (${path})`)));
    });
  }
  return told;
}

async function drawn(state) {
  for (const language of LANGUAGES) {
    await allForms(state, language, ({ page, name }) => take(page, join(folder, `${name}.png`)));
  }
}

/** Two at a time: as many as there are cores. */
async function each(states, work) {
  const waiting = [...states];
  const worker = async () => {
    for (let state = waiting.shift(); state; state = waiting.shift()) await step(state.state, () => work(state));
  };
  await Promise.all([worker(), worker()]);
}

async function byKeyboard() {
  const told = [];
  const pages = [["good", "/"], ["running", "/"], ["many", "/"]];
  for (const name of ["good", "journey"]) pages.push(...state(name).paths.map((path) => [name, path]));
  for (const [name, path] of pages) {
    const { page, close } = await open(browser, state(name), { width: name === "running" ? 390 : 1280 });
    await visit(page, path);
    const { number, found } = await tabThrough(page, `${name} ${path}`);
    if (number < 8) told.push(`${name} ${path}: only ${number} controls`);
    told.push(...found);
    await close();
  }
  return told;
}

if (option === "--pictures") {
  mkdirSync(folder, { recursive: true });
  await each(states, drawn);
} else if (option === "--docs") {
  await step("pictures of the documents", () => forDocuments(browser, states));
} else {
  await step("planted faults", () => findFaults(browser, state("good")));
  if (option !== "--journeys") await each(states, lookAt);
  await step("by keyboard", byKeyboard);
  await step("a restore by keyboard", async () => console.log(`   ${await restore(browser, state("journey"))}`));
  await step("through a proxy", () => throughProxy(browser, state("journey"), false));
  await step("through a proxy that refuses Origin", () => throughProxy(browser, state("journey"), true));
  await step("without a script", () => withoutScript(browser, state("journey")));
  await step("a reload keeps the place", () => keepsPlace(browser, state("many")));
  await step("weight", () => weigh(browser, state("many")));
}
await browser.close();
await end();
console.log(`${states.length} states, ${looks} forms of their pages; ${found.length} faults`);
for (const what of found) console.error(what);
process.exit(found.length ? 1 : 0);
