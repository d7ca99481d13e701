// A screenshot of any page. NODE_MODULES=DIR node shoot.mjs URL OUT.png [SETTLE_MS]
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { chromium } = require("playwright-core");
const [url, out, settle = "3000"] = process.argv.slice(2);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "axrad-viewer-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, viewport: { width: 1100, height: 800 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  await page.goto(url, { timeout: 60000 });
  await page.waitForTimeout(Number(settle));
  await page.screenshot({ path: out });
  console.log(JSON.stringify({ text: await page.locator("body").innerText() }));
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
