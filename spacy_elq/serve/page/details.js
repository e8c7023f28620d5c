// A mention that was chosen: its entity, its candidates, and what decided.

import { $, make } from "./dom.js";
import { hueOf } from "./spans.js";

const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
const percent = (value) => `${(100 * value).toFixed(value < 0.995 ? 0 : 1)} %`;

/* Shows that no mention is chosen. */
export function clearDetails() {
  const hint = "Choose a mention to see its entity, its candidates, and what decided.";
  $("details").replaceChildren(make("p", { class: "quiet" }, hint));
}

/* Shows a link; its candidates have shares once the explanation is there. */
export function showDetails(text, link, explained) {
  $("details").replaceChildren(
    make("h2", { dir: "auto" }, link.title),
    make("p", {},
      make("span", { class: "chip", hue: hueOf(link.type) }, link.type), " ",
      make("code", {}, link.id)),
    make("p", { dir: "auto" }, link.description),
    scores(link, explained),
    make("h3", {}, "Candidates"),
    explained ? candidatesExplained(explained, text) : candidates(link),
  );
}

function scores(link, explained) {
  const rows = [
    ["Score", score(link.score)],
    ["that it is a mention: log P", score(link.mention_score)],
    ["that it means this entity: log P", score(link.entity_score)],
  ];
  if (link.prob !== null) rows.splice(1, 0, ["Probability that the link is right", percent(link.prob)]);
  if (explained && explained.nil_score !== null) {
    rows.push(["that it means none of them: log P", score(explained.nil_score)]);
  }
  if (explained && explained.names.length) rows.push(["as a name", explained.names.join(", ")]);
  return make("dl", { class: "scores" },
    ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function candidates(link) {
  return make("ol", { class: "candidates" }, ...link.candidates.map((each) => candidate(each, null, [])));
}

function candidatesExplained(explained, text) {
  const chars = Array.from(text);
  return make("ol", { class: "candidates" }, ...explained.candidates.map((each) =>
    candidate(each, each.description, shares(each, chars))));
}

/* What decided between the candidates: parts of the score before the softmax. */
function shares(each, chars) {
  const rest = each.raw_score - each.name_share - each.popularity_share - each.document_share;
  const parts = [`meaning ${score(rest)}`];
  if (each.name_share) parts.push(`name (${each.name || "none"}) ${score(each.name_share)}`);
  if (each.popularity_share) parts.push(`popularity ${score(each.popularity_share)}`);
  if (each.document_share) {
    const source = each.source ? ` (“${chars.slice(...each.source).join("")}”)` : "";
    parts.push(`document${source} ${score(each.document_share)}`);
  }
  return parts;
}

function candidate(each, description, parts) {
  const probability = each.score === null ? 0 : Math.exp(each.score);
  const bar = make("div", { class: "bar" });
  bar.style.width = `${Math.min(100, 100 * probability)}%`;
  return make("li", {},
    make("div", { class: "head" },
      make("span", { dir: "auto" }, each.title, " ", make("code", { class: "quiet" }, each.id)),
      make("span", { class: "value" }, percent(probability))),
    bar,
    description ? make("div", { class: "quiet", dir: "auto" }, description) : null,
    parts.length ? make("div", { class: "value" }, parts.join(" + ")) : null);
}
