// Without a mouse: what can be reached, and that one sees where one is.

/** What is wrong with going through the whole page by Tab. */
export async function tabThrough(page, where) {
  const number = await page.evaluate(() => {
    const isThere = (element) => element.checkVisibility({ checkVisibilityCSS: true }) && !element.closest("details:not([open]) > :not(summary)");
    window.controls = [...document.querySelectorAll("a[href], button:enabled, input:enabled:not([type=hidden]), summary, [tabindex='0']")]
      .filter(isThere);
    document.activeElement?.blur();
    return window.controls.length;
  });
  const [reached, found] = [new Set(), []];
  for (let i = 0; i < number + 20; i++) {
    await page.keyboard.press("Tab");
    const at = await focused(page);
    if (at.number < 0) continue;
    reached.add(at.number);
    if (!at.isSeen) found.push(`${where}: no focus is seen on ${at.name}`);
  }
  const missed = await page.evaluate((reached) => window.controls
    .filter((control, number) => {
      // Of a group of radio buttons, Tab reaches the one that is chosen, and arrows the others.
      const isReached = (other) => reached.includes(window.controls.indexOf(other));
      return !isReached(control) && !(control.type === "radio" && window.controls.some((o) => o.name === control.name && isReached(o)));
    })
    .map((control) => control.outerHTML.slice(0, 120)), [...reached]);
  return { number, found: [...found, ...missed.map((control) => `${where}: Tab does not reach ${control}`)] };
}

function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const isIn = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return {
      number: window.controls.indexOf(element),
      name: element.outerHTML.slice(0, 120),
      isSeen: isIn && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    };
  });
}

/** Presses Tab until what is focused matches. */
export async function tabTo(page, selector) {
  for (let i = 0; i < 200; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
  }
  throw new Error(`Tab does not reach ${selector} on ${page.url()}`);
}

/** Reaches it, presses a key, and waits for the next page. */
export async function goBy(page, selector, key = "Enter") {
  await tabTo(page, selector);
  await Promise.all([page.waitForEvent("load"), page.keyboard.press(key)]);
}
