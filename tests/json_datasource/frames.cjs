// Reads {name: [elements]} and writes what Grafana makes of each: the official package is the judge.
// Argument: the folder whose node_modules holds @grafana/data.
const path = require("node:path");
const { createRequire } = require("node:module");

// The package looks for Grafana's boot data and the browser's languages there.
globalThis.window = globalThis;
globalThis.navigator ??= { languages: ["en-US"], language: "en-US" };
const grafana = createRequire(path.join(process.argv[2], "index.js"))("@grafana/data");

const written = (value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);

function described(frame, frames) {
  return {
    refId: frame.refId,
    name: frame.name,
    length: frame.length,
    meta: frame.meta,
    fields: frame.fields.map((field) => ({
      name: field.name,
      type: field.type,
      labels: field.labels,
      config: field.config,
      shown: grafana.getFieldDisplayName(field, frame, frames),
      unit: grafana.getValueFormat(field.config.unit || "none")(1234.5678).suffix,
      values: Array.from(field.values, written),
    })),
  };
}

const answers = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const found = Object.entries(answers).map(([name, elements]) => {
  const frames = elements.map((element) => grafana.toDataFrame(element));
  return [name, frames.map((frame) => described(frame, frames))];
});
process.stdout.write(JSON.stringify(Object.fromEntries(found)));
