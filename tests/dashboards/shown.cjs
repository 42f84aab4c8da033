// Reads [{fieldConfig, reduceOptions, frames}] and writes what each number panel shows: texts and colours, by Grafana's
// own package. Argument: the folder whose node_modules holds @grafana/data.
const path = require("node:path");
const { createRequire } = require("node:module");

// The package looks for Grafana's boot data and the browser's languages there.
globalThis.window = globalThis;
globalThis.navigator ??= { languages: ["en-US"], language: "en-US" };
const grafana = createRequire(path.join(process.argv[2], "index.js"))("@grafana/data");
const theme = grafana.createTheme({ colors: { mode: "dark" } });

function shown({ fieldConfig, reduceOptions, frames }) {
  const data = frames.map((frame) => grafana.toDataFrame(frame));
  // What Grafana does with the defaults of a panel, without the registry of options that its web page fills.
  for (const field of data.flatMap((frame) => frame.fields)) {
    field.config = fieldConfig.defaults;
    field.display = grafana.getDisplayProcessor({ field, theme, timeZone: "utc" });
  }
  const options = { data, fieldConfig, reduceOptions, theme, replaceVariables: (text) => text, timeZone: "utc" };
  return grafana.getFieldDisplayValues(options).map(({ display }) => ({
    text: `${display.prefix ?? ""}${display.text}${display.suffix ?? ""}`,
    color: display.color,
  }));
}

const colours = Object.fromEntries(
  ["text", "green", "orange", "red", "blue"].map((name) => [name, theme.visualization.getColorByName(name)]),
);
const panels = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({ colours, shown: panels.map(shown) }));
