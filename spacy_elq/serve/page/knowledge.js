// Search for entities; add, change and remove them.

import { $, ask, fail, make, show } from "./dom.js";

let needsToken = false;
let changed = async () => {};

/* onChange: called after a change is made. */
export function prepare(health, onChange) {
  needsToken = health.needs_token;
  changed = onChange;
  show($("add"), health.writable);
  show($("token-field"), needsToken);
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search(health.writable); });
  $("add").addEventListener("click", () => edit(null, $("query").value.trim()));
  $("entity").addEventListener("submit", (event) => { event.preventDefault(); save(); });
  $("remove").addEventListener("click", remove);
  $("cancel").addEventListener("click", close);
}

async function search(writable) {
  const query = $("query").value.trim();
  if (!query) return;
  try {
    const { entities } = await ask("GET", `/entities?limit=10&text=${encodeURIComponent(query)}`);
    $("found").replaceChildren(...entities.map((entity) => found(entity, writable)));
    if (!entities.length) $("found").replaceChildren(make("li", { class: "quiet" }, "Nothing found."));
    fail(null);
  } catch (error) { fail(error); }
}

function found(entity, writable) {
  const title = writable
    ? make("button", { type: "button", dir: "auto", onclick: () => edit(entity) }, entity.title)
    : make("span", { dir: "auto" }, entity.title);
  return make("li", {}, title, " ", make("code", { class: "quiet" }, entity.id),
    make("div", { class: "quiet", dir: "auto" }, entity.description ?? ""));
}

const nameOf = (alias) => (typeof alias === "string" ? alias : alias.name);
let shown = null; // the entity that the form shows, with fields that it has no room for

function edit(entity, title = "") {
  const fields = $("entity").elements;
  shown = entity;
  fields.id.value = entity?.id ?? "";
  fields.id.readOnly = entity !== null;
  fields.title.value = entity?.title ?? title;
  fields.description.value = entity?.description ?? "";
  fields.aliases.value = (entity?.aliases ?? []).map(nameOf).join("\n");
  fields.type.value = entity?.type ?? "";
  $("entity-heading").textContent = entity ? "Change the entity" : "New entity";
  show($("remove"), entity !== null);
  show($("entity"), true);
  (entity ? fields.title : fields.id).focus();
}

function close() {
  show($("entity"), false);
  $("query").focus();
}

async function save() {
  const fields = $("entity").elements;
  const before = new Map((shown?.aliases ?? []).map((alias) => [nameOf(alias), alias]));
  const names = fields.aliases.value.split("\n").map((name) => name.trim()).filter(Boolean);
  await change("PUT", {
    ...shown,
    id: fields.id.value.trim(),
    title: fields.title.value.trim(),
    description: fields.description.value.trim(),
    aliases: names.map((name) => before.get(name) ?? name),
    type: fields.type.value.trim(),
  });
}

async function remove() {
  if (confirm(`Remove ${shown.title} (${shown.id}) from the knowledge base?`)) await change("DELETE");
}

async function change(method, body = undefined) {
  const fields = $("entity").elements;
  const path = `/entities/${encodeURIComponent(fields.id.value.trim())}`;
  try {
    await ask(method, path, body, needsToken ? fields.token.value.trim() : "");
    $("found").replaceChildren();
    close();
    fail(null);
    await changed();
  } catch (error) { fail(error); }
}
