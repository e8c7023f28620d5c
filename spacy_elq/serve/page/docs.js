// The interface, as /openapi.json describes it.

import { $, ask, make } from "./dom.js";

const api = await ask("GET", "/openapi.json");
const resolve = (schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${typeOf(schema.items) || schema.prefixItems?.map(typeOf).join(", ") || ""}]`;
  return schema.type ?? "any";
}

function fields(schema) {
  const properties = Object.entries(resolve(schema)?.properties ?? {});
  const required = resolve(schema)?.required ?? [];
  return make("table", {}, ...properties.map(([name, value]) => make("tr", {},
    make("td", {}, make("code", {}, name)),
    make("td", {}, typeOf(value) + (required.includes(name) ? "" : ", optional")),
    make("td", {}, value.description ?? ""))));
}

function example(method, path, schema) {
  const body = resolve(schema)?.examples?.[0];
  const data = body ? ` \\\n  -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'` : "";
  const verb = method === "get" ? "" : `-X ${method.toUpperCase()} `;
  return make("pre", {}, `curl ${verb}${location.origin}${path}${data}`);
}

function operation(method, path, of) {
  const body = of.requestBody?.content["application/json"]?.schema;
  const answers = Object.entries(of.responses).filter(([status]) => status.startsWith("2"));
  const answer = answers[0]?.[1].content?.["application/json"]?.schema;
  return make("section", {},
    make("h2", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    make("p", {}, of.description ?? of.summary ?? ""),
    of.parameters?.length ? make("table", {}, ...of.parameters.map((each) => make("tr", {},
      make("td", {}, make("code", {}, each.name)),
      make("td", {}, `${each.in}, ${typeOf(each.schema)}`)))) : null,
    body ? fields(body) : null,
    example(method, path, body),
    answer ? make("details", {}, make("summary", {}, `Answer: ${typeOf(answer)}`), fields(answer)) : null);
}

$("about").textContent = `${api.info.title} ${api.info.version}`;
$("operations").append(
  ...Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, of]) => operation(method, path, of))),
  make("section", {}, make("h2", {}, "Objects"),
    ...["LinkAnswer", "TextAnswer", "CandidateAnswer", "Mention", "EntityAnswer", "ErrorAnswer"]
      .filter((name) => api.components.schemas[name])
      .flatMap((name) => [make("h3", {}, name), make("p", { class: "quiet" }, api.components.schemas[name].description ?? ""), fields(api.components.schemas[name])])));
