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

/** Milliseconds to the first content, to the list (of a page without one: the same), and to the first byte of the answer. */
async function timed(page) {
  await visit(page, "/");
  return page.evaluate(() => new Promise((done) => {
    const at = {};
    const told = (entries) => {
      for (const { entryType, name, startTime } of entries.getEntries()) at[entryType === "element" ? "list" : name] = startTime;
      const content = at["first-contentful-paint"];
      const list = document.querySelector("[elementtiming]") ? at.list : content;
      if (content && list) done([content, list, performance.getEntriesByType("navigation")[0].responseStart]);
    };
    for (const type of ["paint", "element"]) new PerformanceObserver(told).observe({ type, buffered: true });
  }));
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** Of each of these, the medians of what first visits come to, and visits after those: in turns, each with a browser that knew nothing. */
async function visits(browser, states, rounds) {
  const times = states.map(() => [[], []]);
  for (let round = 0; round < rounds; round++) {
    for (const [at, state] of states.entries()) {
      const { page, close } = await open(browser, state);
      for (const which of times[at]) which.push(await timed(page));
      await close();
    }
  }
  return times.map((visits) => visits.map((all) => [0, 1, 2].map((what) => median(all.map((one) => one[what])).toFixed())));
}

export async function weigh(browser, state) {
  const found = [];
  for (const path of ["/", "/?lang=zh-TW", "/?page=3"]) {
    const size = await bytes(state.url + path);
    console.log(`   ${state.state} ${path}: ${size} bytes on the wire, at most ${MOST}`);
    if (size > MOST) found.push(`${state.state} ${path}: ${size} bytes on the wire, more than ${MOST}`);
  }
  const word = await peer();
  const [ours, ofOneWord] = await visits(browser, [state, word], 9);
  word.end();
  for (const [at, visit] of ["first visit", "later visit"].entries()) {
    const [content, list, answer] = ours[at];
    console.log(`   ${state.state} /, ${visit}: the sentence after ${content} ms, the list after ${list} ms (answer after ${answer} ms); a page of one word: ${ofOneWord[at][0]} ms`);
  }
  return found;
}
