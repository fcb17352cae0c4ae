// What a page weighs, and how soon one sees it.

import { get, open, visit } from "./stage.mjs";

const MOST = 30 * 1024;

/** Bytes on the wire, as browsers ask for it. */
async function bytes(url) {
  const { body, headers } = await get(url, { accept: "text/html", "accept-encoding": "gzip", "sec-fetch-site": "none" });
  return headers["content-encoding"] === "gzip" ? body.length : Infinity;
}

/** Milliseconds to the first content, and to the first byte of the answer: the best of several. */
async function paint(browser, state) {
  let best = { paint: Infinity, answer: Infinity };
  for (let i = 0; i < 5; i++) {
    const { page, close } = await open(browser, state);
    await visit(page, "/");
    const time = await page.evaluate(() => new Promise((seen) => new PerformanceObserver((list) => {
      const found = list.getEntriesByName("first-contentful-paint")[0];
      if (found) seen({ paint: found.startTime, answer: performance.getEntriesByType("navigation")[0].responseStart });
    }).observe({ type: "paint", buffered: true })));
    if (time.paint < best.paint) best = time;
    await close();
  }
  return best;
}

export async function weigh(browser, state) {
  const found = [];
  for (const path of ["/", "/?lang=zh-TW", "/?page=3"]) {
    const size = await bytes(state.url + path);
    console.log(`   ${state.state} ${path}: ${size} bytes on the wire, at most ${MOST}`);
    if (size > MOST) found.push(`${state.state} ${path}: ${size} bytes on the wire, more than ${MOST}`);
  }
  const { paint: first, answer } = await paint(browser, state);
  console.log(`   ${state.state} /: first contentful paint after ${first.toFixed()} ms, ${(first - answer).toFixed()} ms after the first byte`);
  return found;
}
