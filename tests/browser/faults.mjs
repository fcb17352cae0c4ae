// Planted faults: what finds nothing anywhere has to find these.

import { look } from "./look.mjs";
import { open, visit } from "./stage.mjs";

/** Each: what is done to the page on its way, and what has to be told of it. */
const FAULTS = [
  ["an inline style", /policy: style-src/, (html) => html.replace("<main", '<p style="margin: 0">x</p><main')],
  ["an inline script", /policy: script-src/, (html) => html.replace("</body>", "<script>1</script></body>")],
  ["a picture of elsewhere", /policy: img-src/, (html) => html.replace("</main>", '<img alt="" src="http://127.0.0.1:9/x.png"></main>')],
  ["a field without a label", /axe: label/, (html) => html.replace("</main>", "<input type=text></main>")],
  ["a title of its own", /the title is/, (html) => html.replace("<title>", "<title>All is well. ")],
  ["a long word", /scrolls sideways/, (html) => html.replace("</main>", `<pre>${"x".repeat(200)}</pre></main>`)],
];

export async function findFaults(browser, state) {
  const missed = [];
  for (const [name, told, change] of FAULTS) {
    const { page, wrong, close } = await open(browser, state, { width: 390 });
    await page.route("**/", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: change(await response.text()) });
    });
    await visit(page, "/");
    const found = await look(page, wrong, name);
    if (!found.some((what) => told.test(what))) missed.push(`a planted fault is not found: ${name}; only: ${found.join("; ")}`);
    await close();
  }
  return missed;
}
