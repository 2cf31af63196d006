// The description of the API, drawn from openapi.json: every call with its parameters, its body and a line for curl.

import { make, one } from "./dom.js";

const described = await (await fetch("/openapi.json")).json();
const METHODS = ["get", "post", "put", "patch", "delete"];

function resolved(schema) {
  const name = /#\/components\/schemas\/(.+)/.exec(schema?.$ref ?? "")?.[1];
  return name ? (described.components.schemas[name] ?? {}) : (schema ?? {});
}

function kind(schema) {
  const known = resolved(schema);
  if (known.anyOf) return known.anyOf.map(kind).filter((text) => text !== "null").join(" or ");
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(", ");
  if (known.type === "array") return `list of ${kind(known.items ?? {})}`;
  return known.title && known.properties ? known.title : (known.type ?? "anything");
}

function rows(entries) {
  return make(
    "table",
    {},
    entries.map(([name, schema, must, text]) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, make("code", {}, name), must ? " *" : ""),
        make("td", {}, kind(schema)),
        make("td", {}, text ?? schema.description ?? "", "default" in schema ? ` Default: ${JSON.stringify(schema.default)}` : ""),
      ),
    ),
  );
}

function bodyOf(call) {
  const content = call.requestBody?.content ?? {};
  return Object.entries(content).flatMap(([type, { schema }]) => {
    const known = resolved(schema);
    const must = new Set(known.required ?? []);
    const entries = Object.entries(known.properties ?? {});
    return [
      make("h3", {}, type),
      entries.length ? rows(entries.map(([name, one]) => [name, one, must.has(name)])) : make("p", {}, kind(schema)),
    ];
  });
}

function example(path, method, call) {
  const parts = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path}`];
  const content = call.requestBody?.content ?? {};
  if (content["multipart/form-data"]) parts.push("-F picture=@picture.jpg", ...(path.endsWith("segment") ? ["-F prompt='the mug'"] : []));
  else if (content["application/json"]) parts.push(`--json '${path.endsWith("rounds") ? '{"text": "the mug"}' : "{}"}'`);
  return parts.join(" \\\n  ");
}

function section(path, method, call) {
  const parameters = call.parameters ?? [];
  return make(
    "details",
    { "data-path": path },
    make(
      "summary",
      {},
      make("span.method", {}, method.toUpperCase()),
      make("code", {}, path),
      make("span.short", {}, call.description?.split("\n")[0] ?? call.summary ?? ""),
    ),
    make(
      "div.inside",
      {},
      parameters.length ? make("h3", {}, "parameters") : null,
      parameters.length
        ? rows(parameters.map(({ name, schema, required, description }) => [name, schema, required, description ?? schema.description]))
        : null,
      bodyOf(call),
      make("h3", {}, "example"),
      make("pre", {}, example(path, method, call)),
    ),
  );
}

const groups = new Map();
for (const [path, calls] of Object.entries(described.paths)) {
  for (const method of METHODS) {
    if (!calls[method]) continue;
    const tag = calls[method].tags?.[0] ?? "others";
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(section(path, method, calls[method]));
  }
}
one("#about").append(...described.info.description.split("\n\n").map((text) => make("p", {}, text)));
for (const [tag, sections] of groups) one("#calls").append(make("h2", {}, tag), ...sections);
one("#calls").setAttribute("aria-busy", "false");
