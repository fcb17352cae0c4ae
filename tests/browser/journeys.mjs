// What a person does: restores by keyboard alone, through a proxy, and through one that refuses what a form sends.

import { request as ask, createServer } from "node:http";
import { goBy, tabTo } from "./keyboard.mjs";
import { look } from "./look.mjs";
import { get, open, visit } from "./stage.mjs";

function expect(is, what) {
  if (!is) throw new Error(what);
}

function expectNothing(found) {
  expect(found.length === 0, found.join("\n"));
}

async function call(qdrant, method, path, body) {
  const answer = await fetch(`${qdrant}/collections/${path}`, {
    method, body: body && JSON.stringify(body), headers: { "content-type": "application/json" },
  });
  expect(answer.ok, `${method} ${path}: ${answer.status}`);
  return (await answer.json()).result;
}

async function count(qdrant, collection) {
  return (await call(qdrant, "POST", `${collection}/points/count`, { exact: true })).count;
}

/** From the choice of a backup to points that are there again, by keyboard. */
export async function restore(browser, state) {
  const qdrant = state.more.qdrant;
  const { page, wrong, close } = await open(browser, state);
  const before = await count(qdrant, "articles");
  expect(before > 0, "there is nothing to be restored");

  await visit(page, "/");
  await goBy(page, "header nav a[href='/ui/restore']");
  await goBy(page, ".backups a");
  await tabTo(page, "input[name=collection][value=articles]");
  await page.keyboard.press("Space");
  await goBy(page, ".choice button[type=submit]");
  await goBy(page, "form[data-action] button[type=submit]");
  await ended(page);
  const told = await page.innerText("[data-report=restore]");
  expect(told.includes("articles-restored") && told.includes(`${before}`), `the page does not tell what came of it: ${told}`);
  expectNothing(await look(page, wrong, "what a restore came to"));
  const copy = await count(qdrant, "articles-restored");
  expect(copy === before, `${copy} points in the copy, ${before} in the original`);

  // Overwriting: the points that were deleted are there again, once the name is typed as it is.
  const whole = await count(qdrant, "products");
  const { points } = await call(qdrant, "POST", "products/points/scroll", { limit: 40 });
  await call(qdrant, "POST", "products/points/delete?wait=true", { points: points.map(({ id }) => id) });
  const rest = await count(qdrant, "products");
  expect(rest < whole, "nothing was deleted");
  await visit(page, "/ui/restore");
  await goBy(page, ".backups a");
  await tabTo(page, "input[name=collection][value=products]");
  await page.keyboard.press("Space");
  await tabTo(page, "input[name=target]:checked");
  for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowDown");
  await goBy(page, ".choice button[type=submit]");
  await tabTo(page, "input[name=confirm]");
  await page.keyboard.type("product");
  await tabTo(page, "form[data-action] button[type=submit]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".told[data-refused]");
  expect(await count(qdrant, "products") === rest, "something was restored under a name that was not typed right");
  await tabTo(page, "input[name=confirm]");
  await page.keyboard.type("products");
  await goBy(page, "form[data-action] button[type=submit]");
  await ended(page);
  expect(await count(qdrant, "products") === whole, "not all points are there again");
  // That it was refused is told by the browser, too.
  const others = wrong.filter((what) => !what.includes("status of 400"));
  expectNothing(others);
  await close();
  return `articles: ${before} of ${before} points as a copy; products: ${rest} points became ${whole} again`;
}

/** The page looks again by itself until the run has ended. */
async function ended(page) {
  expect(new URL(page.url()).pathname.startsWith("/ui/runs/"), `not the page of a run: ${page.url()}`);
  await page.waitForSelector("[data-run]:not([data-run=running])", { timeout: 60_000 });
  const state = await page.getAttribute("[data-run]", "data-run");
  expect(state === "succeeded", `the run has ${state}: ${await page.textContent("main")}`);
}

/** As `gcloud run services proxy` stands in between; `refuses`: requests with an `Origin` header. */
async function proxy(url, refuses) {
  const { hostname, port } = new URL(url);
  const server = createServer((incoming, answer) => {
    if (refuses && incoming.headers.origin) return answer.writeHead(403).end("forbidden");
    const { method, url: path, headers } = incoming;
    const passed = ask({ hostname, port, method, path, headers }, (response) => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    incoming.pipe(passed);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const end = () => { server.closeAllConnections(); server.close(); };
  return { url: `http://localhost:${server.address().port}`, end };
}

/** A backup is begun through the proxy, or its command is shown. */
export async function throughProxy(browser, state, refuses) {
  const between = await proxy(state.url, refuses);
  const runs = async () => JSON.parse((await get(`${state.url}/v1/operations?limit=100`)).body).operations.length;
  const { page, close } = await open(browser, { ...state, url: between.url });
  const before = await runs();
  await visit(page, "/");
  if (refuses) {
    await tabTo(page, ".hero button[type=submit]");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".hero .refused:not([hidden])");
    const shown = await page.innerText(".hero .refused");
    expect(shown.includes("qdrant-backup backup"), `no command is shown: ${shown}`);
    expect(await runs() === before, "something was begun");
    // Reading goes on.
    await goBy(page, "header nav a[href='/ui/backups']");
    expect(await page.locator(".backups > li").count() > 0, "no backups are shown");
  } else {
    await goBy(page, ".hero button[type=submit]");
    await ended(page);
    expect(await runs() === before + 1, "no backup was begun");
  }
  await close();
  between.end();
}

/** Without a script everything works, too. */
export async function withoutScript(browser, state) {
  const { page, close } = await open(browser, state, { javaScriptEnabled: false });
  await visit(page, "/");
  await Promise.all([page.waitForEvent("load"), page.locator(".hero button[type=submit]").press("Enter")]);
  expect(new URL(page.url()).pathname.startsWith("/ui/runs/"), `not the page of a run: ${page.url()}`);
  for (let i = 0; i < 100 && await page.locator("[data-run=running]").count(); i++) await page.reload();
  expect(await page.locator("[data-run=succeeded]").count() === 1, await page.innerText("main"));
  await close();
}

/** Frames in which what is going to move has moved. */
const SETTLED = 40;

/** Whoever reads far down a long list stays there over a reload and a way back, and sees nothing move. */
export async function keepsPlace(browser, state) {
  for (const width of [1280, 800, 390]) {
    const { page, close } = await open(browser, state, { width, reducedMotion: "no-preference", bypassCSP: true });
    await page.addInitScript(() => {
      window.places = [];
      const look = () => { window.places.push(scrollY); requestAnimationFrame(look); };
      requestAnimationFrame(look);
    });
    /** Where the page was in the frames since it began, or since it was asked before. */
    const places = async () => {
      await page.waitForFunction((frames) => window.places.length >= frames, SETTLED);
      return page.evaluate(() => window.places.splice(0));
    };
    await visit(page, "/");
    // What is looked at again is not painted in two frames.
    await page.waitForFunction(() => !document.body.classList.contains("long"));
    await page.evaluate(() => { scrollTo(0, 1500); window.places.length = 0; });
    for (const way of ["reload", "back"]) {
      await places();
      if (way === "reload") await page.reload();
      else {
        await visit(page, "/ui/backups");
        await page.goBack();
      }
      const all = await places();
      const since = all.slice(all.findIndex((place) => place > 0));
      expect(all.at(-1) > 0 && since.every((place) => Math.abs(place - 1500) < 40), `${width}, ${way}: 1500 became ${[...new Set(since)].join(", ") || 0}`);
    }
    // In the first frame, which is held here, the page is as high as it will be.
    const height = () => page.evaluate(() => document.documentElement.scrollHeight);
    const whole = await height();
    await page.addStyleTag({ content: "* { animation-play-state: paused !important }" });
    await page.evaluate(() => document.body.classList.add("long"));
    expect(!(await page.locator(".collections .ladder").first().isVisible()), "the list is painted with the sentence");
    const first = await height();
    expect(Math.abs(whole - first) < 60, `${width}: ${first} pixels high in the first frame, then ${whole}`);
    await close();
  }
}
