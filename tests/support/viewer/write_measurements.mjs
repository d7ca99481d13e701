// Measurement reports by the writer that OHIF itself uses: dcmjs, taken out of the viewer's bundle and run without it.
//
// Standard input: {folder, bundle, image, drawn: [{tool, label, place, points, values}]}; for each drawn tool a file
// `N.dcm` is written into `folder`. The tool's arguments are those that the viewer's adapters make of an annotation.
import fs from "node:fs";
import path from "node:path";

const order = JSON.parse(fs.readFileSync(0, "utf8"));

function writer(bundle) {
  const text = fs.readFileSync(bundle, "utf8");
  const inside = text.indexOf("var TID320ContentItem");
  const start = text.lastIndexOf("(__unused_rspack_module, __webpack_exports__, __webpack_require__) {", inside);
  const end = start + text.slice(start).search(/\n\},\n\d+\(/) + 2;
  if (inside < 0 || start < 0 || end < inside) throw new Error("the viewer's bundle is of another form");
  const exported = {};
  // All that the module asks of its bundle is Node's Buffer.
  const ask = () => ({ hp: Buffer });
  ask.d = (_, names) => Object.keys(names).forEach((key) => Object.defineProperty(exported, key, { get: names[key], enumerable: true }));
  ask.r = () => {};
  ask.g = globalThis;
  new Function(`return function ${text.slice(start, end)}`)()({}, exported, ask);
  const has = (key) => Object.values(exported).find((value) => value && value[key] !== undefined);
  return { tools: has("TID300").TID300, reports: has("TID1500").TID1500, derivations: has("StructuredReport"), data: has("datasetToDict") };
}

const dcmjs = writer(order.bundle);

function measurement({ tool, label, place, points, values }, reference) {
  const text = { CodeValue: "CS3DTEXT", CodingSchemeDesignator: "99dcmjs", CodeMeaning: label };
  const at = points.map(([x, y]) => ({ x, y }));
  const common = {
    ReferencedSOPSequence: reference,
    trackingIdentifierTextValue: `Cornerstone3DTools@^0.1.0:${tool}`,
    finding: place === "finding" ? text : undefined,
    findingSites: place === "finding_site" ? [text] : [],
    unit: "mm",
    areaUnit: "mm2",
  };
  const make = dcmjs.tools;
  switch (tool) {
    case "Bidirectional":
      return new make.Bidirectional({
        ...common,
        longAxis: { point1: at[0], point2: at[1] },
        shortAxis: { point1: at[2], point2: at[3] },
        longAxisLength: values[0],
        shortAxisLength: values[1],
      });
    case "Length":
      return new make.Length({ ...common, point1: at[0], point2: at[1], distance: values[0] });
    case "EllipticalROI":
      return new make.Ellipse({ ...common, points: at, area: values[0], mean: 1, modalityUnit: "" });
    case "CircleROI":
      return new make.Circle({ ...common, points: at, area: values[0], radius: values[1], perimeter: values[2] });
    case "ArrowAnnotate":
      return new make.Point({ ...common, points: at });
    default:
      return new make.Polyline({ ...common, points: at, area: values[0] ?? undefined, perimeter: values[1] });
  }
}

order.drawn.forEach((drawn, n) => {
  const { image } = order;
  const reference = { ReferencedSOPClassUID: image.SOPClassUID, ReferencedSOPInstanceUID: image.SOPInstanceUID };
  const meta = { TransferSyntaxUID: { Value: ["1.2.840.10008.1.2.1"], vr: "UI" }, ImplementationClassUID: { Value: ["2.25.1"], vr: "UI" } };
  const source = { ...image, _meta: meta, _vrMap: {} };
  const group = new dcmjs.reports.TID1501MeasurementGroup([measurement(drawn, reference)]);
  const report = new dcmjs.reports.TID1500MeasurementReport({ TID1501MeasurementGroups: [group] }, {});
  const written = new dcmjs.derivations.StructuredReport([source], {});
  const series = { [image.SOPInstanceUID]: image.SeriesInstanceUID };
  Object.assign(written.dataset, report.contentItem([source], { sopInstanceUIDsToSeriesInstanceUIDMap: series }));
  written.dataset._meta = meta;
  written.dataset.SpecificCharacterSet = "ISO_IR 192";
  fs.writeFileSync(path.join(order.folder, `${n}.dcm`), Buffer.from(dcmjs.data.datasetToDict(written.dataset).write()));
});
