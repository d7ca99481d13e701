// A reader at OHIF in headless Chromium: draws axes by mouse and saves them, or opens a segmentation, edits it and saves it.
// NODE_MODULES=DIR node read.mjs < ORDER
// ORDER: {base, study, out, measure: [{series, image, label, long: [[x, y, z], [x, y, z]], short: [...]}]} or
// {base, study, out, edit: {title, image, segment, stroke: [[x, y, z], ...]}}; all points in mm of the patient.
// Pictures are left in OUT. On stdout one JSON document: {"drawn": [...]}, the ends of the axes, or
// {"shown": "...", "segments": [...]}, the screen's text and the labels.
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

const order = JSON.parse(fs.readFileSync(0, "utf8"));
const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { chromium } = require("playwright-core");
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "axrad-viewer-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1400, height: 900 },
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--ignore-gpu-blocklist", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
});
browser.setDefaultTimeout(Number(process.env.PATIENCE_MS ?? 60000));
const page = browser.pages()[0] ?? (await browser.newPage());
const picture = (name) => page.screenshot({ path: path.join(order.out, `${name}.png`) });

async function open(mode) {
  await page.addLocatorHandler(page.locator(".shepherd-modal-is-visible"), async () => {
    await page.evaluate(() => document.querySelectorAll(".shepherd-modal-is-visible, .shepherd-element").forEach((e) => e.remove()));
  });
  await page.goto(`${order.base}/${mode}?StudyInstanceUIDs=${order.study}`, { waitUntil: "domcontentloaded" });
  await page.locator('[data-cy^="study-browser-thumbnail"]').first().waitFor();
  await page.waitForFunction(() => window.services?.viewportGridService.getActiveViewportId());
}

// Shows an image in the active viewport, which is there only when the viewer has fitted it to the screen.
async function show(series, image) {
  await page.evaluate((uid) => {
    const { displaySetService, viewportGridService } = window.services;
    const set = displaySetService.getActiveDisplaySets().find((one) => one.SeriesInstanceUID === uid);
    const { viewports, activeViewportId } = viewportGridService.getState();
    if (viewports.get(activeViewportId).displaySetInstanceUIDs.includes(set.displaySetInstanceUID)) return;
    window.commandsManager.run("setDisplaySetsForViewports", {
      viewportsToUpdate: [{ viewportId: activeViewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] }],
    });
  }, series);
  await page.waitForFunction((uid) => {
    const { viewportGridService, cornerstoneViewportService } = window.services;
    const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
    const id = viewport?.getCurrentImageId?.();
    const plane = id && window.cornerstone.metaData.get("imagePlaneModule", id);
    if (!plane || window.cornerstone.metaData.get("instance", id).SeriesInstanceUID !== uid) return false;
    const middle = viewport.getImageData?.() && viewport.worldToCanvas(viewport.getCamera().focalPoint);
    const beside = middle && viewport.worldToCanvas(viewport.getCamera().focalPoint.map((v, axis) => v + 50 * plane.rowCosines[axis]));
    return beside && Math.hypot(beside[0] - middle[0], beside[1] - middle[1]) > 50;
  }, series);
  await page.waitForTimeout(1500);
  await turnTo(image);
}

async function turnTo(image) {
  await page.evaluate(async (uid) => {
    const { viewportGridService, cornerstoneViewportService } = window.services;
    const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
    const at = viewport.getImageIds().findIndex((id) => window.cornerstone.metaData.get("instance", id).SOPInstanceUID === uid);
    await viewport.setImageIdIndex(at);
    viewport.render();
  }, image);
  await page.waitForTimeout(500);
}

// Where points of the patient are on the screen.
function onScreen(points) {
  return page.evaluate((mm) => {
    const { viewportGridService, cornerstoneViewportService } = window.services;
    const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
    const edge = viewport.canvas.getBoundingClientRect();
    return mm.map((point) => viewport.worldToCanvas(point)).map(([x, y]) => [edge.left + x, edge.top + y]);
  }, points);
}

async function drag(...points) {
  await page.mouse.move(...points[0]);
  await page.waitForTimeout(100);
  await page.mouse.down();
  for (let n = 1; n < points.length; n += 1) {
    const [from, to] = [points[n - 1], points[n]];
    for (let step = 1; step <= 8; step += 1) {
      await page.mouse.move(from[0] + ((to[0] - from[0]) * step) / 8, from[1] + ((to[1] - from[1]) * step) / 8);
      await page.waitForTimeout(30);
    }
  }
  await page.mouse.up();
  await page.waitForTimeout(400);
}

const apart = (one, other) => Math.hypot(...one.map((value, axis) => value - other[axis]));
const handles = () => page.evaluate(() =>
  window.cornerstoneTools.annotation.state.getAllAnnotations().filter((a) => a.metadata.toolName === "Bidirectional")
    .at(-1).data.handles.points.map((point) => [...point]));

async function measure({ series, image, label, long, short }, number) {
  await show(series, image);
  await page.evaluate(() => window.commandsManager.run("setToolActiveToolbar", { toolName: "Bidirectional", toolGroupIds: ["default"] }));
  await drag(...(await onScreen(long)));
  const yes = page.getByRole("button", { name: "Yes", exact: true });
  if (number === 0) await yes.first().click({ timeout: 8000 }).catch(() => undefined);
  // The viewer draws a short axis of its own: its ends are taken to where they belong.
  const [first, second] = (await handles()).slice(2);
  const [near, far] = apart(first, short[0]) < apart(first, short[1]) ? short : [short[1], short[0]];
  await drag(...(await onScreen([first, near])));
  const ends = (await handles()).slice(2);
  const other = ends.reduce((best, end) => (apart(end, near) > apart(best, near) ? end : best));
  await drag(...(await onScreen([other, far])));
  await picture(`axes-${number}`);
  const row = page.locator('[data-cy="data-row"]').nth(number);
  await row.hover();
  await row.locator('[data-cy="actionsMenuTrigger"]').first().click();
  await page.getByText("Rename", { exact: true }).first().click();
  await page.locator('[role="dialog"] input').last().fill(label);
  await page.locator('[role="dialog"]').getByRole("button", { name: "Save", exact: true }).last().click();
  await page.waitForTimeout(500);
  return handles();
}

async function save(title) {
  const dialog = page.locator('[role="dialog"]').last();
  const name = dialog.locator("input").last();
  if (await name.isEnabled()) await name.fill(title);
  const [answer] = await Promise.all([
    page.waitForResponse((one) => one.request().method() === "POST" && one.url().includes("/studies")),
    dialog.getByRole("button", { name: "Save", exact: true }).click(),
  ]);
  if (!answer.ok()) throw new Error(`the archive answered ${answer.status()}`);
}

// Opens a segmentation as the viewer proposes, paints with the brush where it is told to, and saves all of it.
async function edit({ title, image, segment, stroke }) {
  const thumbnails = page.locator('[data-cy^="study-browser-thumbnail"]');
  const mine = thumbnails.filter({ hasText: title }).first();
  await mine.scrollIntoViewIfNeeded();
  await mine.dblclick();
  await page.locator('[data-cy="yes-hydrate-btn"]').first().click();
  await page.waitForFunction(() => window.services.segmentationService.getSegmentations().length > 0);
  await page.waitForTimeout(2500);
  await turnTo(image);
  await picture("proposal");
  const shown = await page.locator("body").innerText();
  if (stroke) {
    await page.evaluate((index) => {
      const { segmentationService, viewportGridService } = window.services;
      const [one] = segmentationService.getSegmentations();
      segmentationService.setActiveSegment(one.segmentationId ?? one.id, index);
      window.commandsManager.run("setToolActiveToolbar", { toolName: "CircularBrush", toolGroupIds: ["default"] });
      window.commandsManager.run("setBrushSize", { value: 2, toolNames: ["CircularBrush"] });
      return viewportGridService.getActiveViewportId();
    }, segment);
    await drag(...(await onScreen(stroke)));
    await picture("edited");
  }
  await page.locator('[data-cy^="segmentation-collapsed-more-btn"]').first().click();
  await page.getByText("Export", { exact: true }).first().hover();
  await page.getByText("DICOM SEG", { exact: true }).first().click();
  await page.waitForTimeout(500);
  await save("edited");
  await picture("stored");
  const segments = await page.evaluate(() =>
    window.services.segmentationService.getSegmentations().flatMap((one) => Object.values(one.segments).map((s) => s.label)));
  return { shown, segments };
}

try {
  if (order.measure) {
    await open("viewer");
    await page.locator('[data-cy="trackedMeasurements-btn"]').first().click({ timeout: 8000 }).catch(() => undefined);
    const drawn = [];
    for (const [number, item] of order.measure.entries()) drawn.push(await measure(item, number));
    await page.getByText("Create SR").first().click();
    await page.waitForTimeout(1000);
    await save("axes");
    await picture("saved");
    console.log(JSON.stringify({ drawn }));
  } else {
    await open("segmentation");
    console.log(JSON.stringify(await edit(order.edit)));
  }
} catch (error) {
  await picture("failed").catch(() => undefined);
  throw error;
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
