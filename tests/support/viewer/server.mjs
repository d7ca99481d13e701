// OHIF's files and an archive's DICOMweb behind one origin, on a free port of 127.0.0.1; prints the port.
// node server.mjs DIST ARCHIVE_URL
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const dist = path.resolve(process.argv[2]);
const archive = new URL(process.argv[3]);
const TYPES = {
  ".css": "text/css", ".html": "text/html", ".ico": "image/x-icon", ".js": "text/javascript", ".json": "application/json",
  ".mjs": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml", ".wasm": "application/wasm", ".woff2": "font/woff2",
};
// SharedArrayBuffer, which OHIF's volume loader uses, needs an isolated origin.
const ISOLATED = {
  "Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const source = {
  name: "archive", friendlyName: "archive", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", wadoUriRoot: "/wado",
  imageRendering: "wadors", thumbnailRendering: "wadors", enableStudyLazyLoad: true, qidoSupportsIncludeField: true,
  supportsFuzzyMatching: false, supportsReject: false, supportsWildcard: true, dicomUploadEnabled: false,
  omitQuotationForMultipartRequest: true, singlepart: "bulkdata,video",
  bulkDataURI: { enabled: true, relativeResolution: "studies" },
};
const config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 2,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: "never" }, defaultDataSourceName: "dicomweb",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb", configuration: source,
  }],
};

function toArchive(request, response, port) {
  // The archive builds its links from Host: they must lead back here.
  const headers = { ...request.headers, host: `127.0.0.1:${port}` };
  const options = { host: archive.hostname, port: archive.port, method: request.method, path: request.url, headers };
  const onward = http.request(options, (answer) => {
    response.writeHead(answer.statusCode, { ...answer.headers, ...ISOLATED });
    answer.pipe(response);
  });
  onward.on("error", (error) => { response.writeHead(502); response.end(String(error)); });
  request.pipe(onward);
}

function fromDist(place, response) {
  let file = path.join(dist, decodeURIComponent(place));
  if (!file.startsWith(dist) || !fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.join(dist, "index.html");
  response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream", ...ISOLATED });
  fs.createReadStream(file).pipe(response);
}

const server = http.createServer((request, response) => {
  const place = new URL(request.url, "http://x").pathname;
  if (/^\/(dicom-web|wado|instances)(\/|$)/.test(place)) return toArchive(request, response, server.address().port);
  if (place === "/app-config.js") {
    response.writeHead(200, { "Content-Type": "text/javascript", ...ISOLATED });
    return response.end(`window.config = ${JSON.stringify(config)};`);
  }
  return fromDist(place, response);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
