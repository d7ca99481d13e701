// Opens series of a study in OHIF in headless Chromium, one after the other; writes what is to be seen.
// NODE_MODULES=DIR node look.mjs BASE_URL STUDY_UID OUT TITLE...
// OUT/first.png is the first screen. For each TITLE (a whole series description): OUT/N.png, and on stdout one JSON document
// {"series": [...], "views": [{"title": "...", "text": "...", "crashed": false}], "errors": [...]}.
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { chromium } = require("playwright-core");
const [base, study, out, ...titles] = process.argv.slice(2);
const patience = Number(process.env.PATIENCE_MS ?? 120000);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "axrad-viewer-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1500, height: 900 },
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--ignore-gpu-blocklist", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
});
const errors = [];
const views = [];
let series = [];
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error).split("\n")[0]));
  page.on("console", (message) => { if (/Error Boundary/.test(message.text())) errors.push(message.text().slice(0, 300)); });
  // OHIF's tour covers the page, at whatever moment it comes: Playwright closes it whenever it is in the way.
  await page.addLocatorHandler(page.locator(".shepherd-modal-is-visible"), async () => {
    await page.getByText("Skip all").first().click({ timeout: 5000 }).catch(() => undefined);
    await page.evaluate(() => document.querySelectorAll(".shepherd-modal-is-visible, .shepherd-element").forEach((e) => e.remove()));
  });
  await page.goto(`${base}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: "domcontentloaded", timeout: patience });
  const thumbnails = page.locator('[data-cy^="study-browser-thumbnail"]');
  await thumbnails.first().waitFor({ timeout: patience });
  await page.waitForTimeout(6000);
  await page.screenshot({ path: path.join(out, "first.png") });
  const plain = (text) => text.replace(/\s+/g, " ").trim();
  series = (await thumbnails.allInnerTexts()).map(plain);
  for (const [number, title] of titles.entries()) {
    // A line of the caption is the description: a part of it would open the page of "high risk" for its report.
    const lines = (await thumbnails.allInnerTexts()).map((text) => text.split("\n").map(plain));
    const found = lines.flatMap((own, number) => (own.includes(plain(title)) ? [number] : []));
    if (found.length > 1) throw new Error(`${found.length} series are called ${title}`);
    const at = found[0] ?? -1;
    if (at < 0) { views.push({ title, text: "", crashed: false, absent: true }); continue; }
    const before = errors.length;
    await thumbnails.nth(at).scrollIntoViewIfNeeded();
    await thumbnails.nth(at).dblclick({ timeout: patience });
    await page.waitForTimeout(Number(process.env.SETTLE_MS ?? 7000));
    await page.screenshot({ path: path.join(out, `${number}.png`) });
    views.push({ title, text: await page.locator("body").innerText(), crashed: errors.length > before });
  }
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify({ series, views, errors }));
