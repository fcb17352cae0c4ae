// What a page weighs, and how soon one sees it.

import { createServer } from "node:http";
import { get, open, visit } from "./stage.mjs";

const MOST = 30 * 1024;

/** Bytes on the wire, as browsers ask for it. */
async function bytes(url) {
  const { body, headers } = await get(url, { accept: "text/html", "accept-encoding": "gzip", "sec-fetch-site": "none" });
  return headers["content-encoding"] === "gzip" ? body.length : Infinity;
}

/** A page of one word, which nothing but the browser itself takes time for. */
async function peer() {
  const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>Peer</title><p>One"));
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { url: `http://127.0.0.1:${server.address().port}`, end: () => server.close() };
}

/** Milliseconds to the first content, and to the first byte of the answer, in a browser that has loaded nothing of it before. */
async function paint(browser, state) {
  const { page, close } = await open(browser, state);
  await visit(page, "/");
  const times = await page.evaluate(() => new Promise((seen) => new PerformanceObserver((list) => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) seen([found.startTime, performance.getEntriesByType("navigation")[0].responseStart]);
  }).observe({ type: "paint", buffered: true })));
  await close();
  return times;
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** Medians of paints in turns. */
async function paints(browser, states, rounds) {
  const times = states.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [at, state] of states.entries()) times[at].push(await paint(browser, state));
  }
  return times.map((times) => [0, 1].map((what) => median(times.map((time) => time[what]))));
}

export async function weigh(browser, state) {
  const found = [];
  for (const path of ["/", "/?lang=zh-TW", "/?page=3"]) {
    const size = await bytes(state.url + path);
    console.log(`   ${state.state} ${path}: ${size} bytes on the wire, at most ${MOST}`);
    if (size > MOST) found.push(`${state.state} ${path}: ${size} bytes on the wire, more than ${MOST}`);
  }
  const word = await peer();
  const [[first, answer], [one]] = await paints(browser, [state, word], 9);
  word.end();
  console.log(`   ${state.state} /: first contentful paint after ${first.toFixed()} ms (answer after ${answer.toFixed()} ms), a page of one word: ${one.toFixed()} ms`);
  return found;
}
