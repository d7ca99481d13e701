// Somebody at a browser: does what ORDER says and tells what each page shows. NODE_MODULES=DIR node browse.mjs < ORDER
// ORDER: {base, out, width, scheme: "light" | "dark", language, scripts: false, steps: [...]}. A step is one of
// {visit: PATH}, {press: NAME} (a button or link), {fill: {NAME: VALUE}}, {open: SUMMARY}, {await: PATH}, {look: NAME}.
// A look leaves OUT/NAME.png and tells {name, path, status, text, title, wide, faults, picturesBroken, alerts}: `wide` how many
// pixels the page is wider than the window, `faults` what axe-core finds.
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

const order = JSON.parse(fs.readFileSync(0, "utf8"));
const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { chromium } = require("playwright-core");
const axe = order.axe === false ? "" : fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "axrad-browse-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, ignoreHTTPSErrors: true,
  viewport: { width: order.width ?? 1280, height: order.height ?? 900 },
  colorScheme: order.scheme ?? "light", locale: order.language ?? "en-GB", javaScriptEnabled: order.scripts ?? true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
browser.setDefaultTimeout(60000);
const page = browser.pages()[0] ?? (await browser.newPage());
let status = 0, alerts = [], complaints = [];
page.on("dialog", (dialog) => { alerts.push(dialog.message()); dialog.dismiss(); });
page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
page.on("response", (response) => { if (response.request().isNavigationRequest()) status = response.status(); });

async function look(name) {
  await page.evaluate(() => document.querySelectorAll("img[loading=lazy]").forEach((i) => i.setAttribute("loading", "eager")));
  await page.waitForFunction(() => [...document.images].every((i) => i.complete || !i.checkVisibility()), null, { timeout: 60000 });
  if (order.out) await page.screenshot({ path: path.join(order.out, `${name}.png`), fullPage: true });
  let faults = [];
  if (axe) {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document));
    faults = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(" | ")}`);
  }
  const facts = await page.evaluate(() => ({
    text: document.body.innerText, title: document.title, lang: document.documentElement.lang,
    wide: document.documentElement.scrollWidth - window.innerWidth, scripts: document.scripts.length,
    picturesBroken: [...document.images].filter((i) => i.checkVisibility() && i.naturalWidth === 0).map((i) => i.src),
  }));
  const seen = { name, path: new URL(page.url()).pathname + new URL(page.url()).search, status, alerts, complaints, faults, ...facts };
  alerts = []; complaints = [];
  return seen;
}

const looks = [];
try {
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
    if (step.await) await page.waitForURL((url) => url.pathname === step.await);
    if (step.open) await page.locator("summary", { hasText: step.open }).click();
    if (step.look) looks.push(await look(step.look));
  }
  console.log(JSON.stringify(looks));
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
