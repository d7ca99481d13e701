// Somebody at a browser: does what each order says and tells what each page shows. NODE_MODULES=DIR node browse.mjs, an order a line.
// ORDER: {base, out, width, scheme: "light" | "dark", language, scripts: false, who, steps: [...]}. `who`: who is at the browser;
// the cookies of the last order of the same one are there again. A step is one of {visit: PATH}, {press: NAME} (a button or
// link), {fill: {NAME: VALUE}}, {open: SUMMARY}, {keys: [KEY, ...]}, {type: TEXT}, {await: PATH}, {look: NAME}.
// The answer, a line: {looks, answers}, or {error}. A look leaves OUT/NAME.png and tells {name, path, status, text, title, wide,
// faults, picturesBroken, alerts, focus}: `wide` how many pixels the page is wider than the window, `faults` what axe-core finds,
// `focus` the text of what the keyboard is at. `answers`: every [method, path, status] of a page, form or picture.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { chromium } = require("playwright-core");
let axe = "";
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
const cookies = new Map();

async function carriedOut(order) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true, viewport: { width: order.width ?? 1280, height: order.height ?? 900 },
    colorScheme: order.scheme ?? "light", locale: order.language ?? "en-GB", javaScriptEnabled: order.scripts ?? true,
  });
  try {
    context.setDefaultTimeout(60000);
    if (cookies.has(order.who)) await context.addCookies(cookies.get(order.who));
    const answer = await walk(order, await context.newPage());
    if (order.who) cookies.set(order.who, await context.cookies());
    return answer;
  } finally {
    await context.close();
  }
}

async function walk(order, page) {
  let status = 0, alerts = [], complaints = [];
  const looks = [], answers = [];
  page.on("dialog", (dialog) => { alerts.push(dialog.message()); dialog.dismiss(); });
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("response", (response) => {
    const request = response.request();
    if (request.isNavigationRequest()) status = response.status();
    answers.push([request.method(), new URL(response.url()).pathname, response.status()]);
  });

  async function look(name) {
    await page.evaluate(() => document.querySelectorAll("img[loading=lazy]").forEach((i) => i.setAttribute("loading", "eager")));
    await page.waitForFunction(() => [...document.images].every((i) => i.complete || !i.checkVisibility()), null, { timeout: 60000 });
    if (order.out) await page.screenshot({ path: path.join(order.out, `${name}.png`), fullPage: true });
    let faults = [];
    if (order.axe !== false) {
      axe ||= fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run(document));
      faults = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(" | ")}`);
    }
    const facts = await page.evaluate(() => ({
      text: document.body.innerText, title: document.title, lang: document.documentElement.lang,
      wide: document.documentElement.scrollWidth - window.innerWidth, scripts: document.scripts.length,
      focus: document.activeElement === document.body ? "" : document.activeElement.innerText || document.activeElement.name,
      picturesBroken: [...document.images].filter((i) => i.checkVisibility() && i.naturalWidth === 0).map((i) => i.src),
    }));
    const { pathname, search } = new URL(page.url());
    const seen = { name, path: pathname + search, status, alerts, complaints, faults, ...facts };
    alerts = []; complaints = [];
    return seen;
  }

  for (const step of order.steps) {
    if (step.visit) await page.goto(order.base + step.visit);
    if (step.fill) for (const [name, value] of Object.entries(step.fill)) {
      const field = page.locator(`[name="${name}"]:not([type=hidden])`).first();
      if ((await field.evaluate((e) => e.tagName)) === "SELECT") await field.selectOption(value); else await field.fill(value);
    }
    if (step.press) {
      const names = { name: step.press, exact: step.exact ?? true };
      const target = page.getByRole("button", names).or(page.getByRole("link", names)).first();
      await Promise.all([page.waitForEvent("load"), target.click()]);
    }
    if (step.keys) for (const key of step.keys) await page.keyboard.press(key);
    if (step.type) await page.keyboard.type(step.type);
    if (step.await) await page.waitForURL((url) => url.pathname === step.await);
    if (step.open) await page.locator("summary", { hasText: step.open }).click();
    if (step.look) looks.push(await look(step.look));
  }
  return { looks, answers };
}

try {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const answer = await carriedOut(JSON.parse(line)).catch((error) => ({ error: String(error.stack) }));
    console.log(JSON.stringify(answer));
  }
} finally {
  await browser.close();
}
