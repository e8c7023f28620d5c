// The text, its links, and the threshold.

import { clearDetails, showDetails } from "./details.js";
import { $, ask, fail, make, show } from "./dom.js";
import { prepare } from "./knowledge.js";
import { hueOf, linksAbove, pieces } from "./spans.js";

// What was linked last. All its mentions above the floor are here, so that the slider needs no
// request.
let linked = { text: "", considered: null, links: [] };
let usual = null; // the pipeline's threshold; null if scores are not compared with one number
let asked = 0;
let chosen = null;

const lowest = () => Number($("threshold").min);

async function link() {
  const text = $("text").value;
  if (!text.trim()) return;
  const number = ++asked;
  $("status").textContent = "linking …";
  try {
    const floor = usual === null ? {} : { floor: lowest() };
    const { results: [answer] } = await ask("POST", "/link", { text, ...floor });
    if (number !== asked) return; // another text was linked meanwhile
    linked = { text, considered: answer.considered, links: answer.links };
    fail(null);
    render();
  } catch (error) {
    if (number === asked) { $("status").textContent = ""; fail(error); }
  }
}

function shownLinks() {
  if (usual === null || linked.considered === null) return linked.links;
  return linksAbove(linked.considered, Number($("threshold").value));
}

function render() {
  const links = shownLinks();
  $("linked").replaceChildren(...pieces(linked.text, links).map(([piece, of]) =>
    (of ? mention(piece, of) : piece)));
  const types = [...new Set(links.map((each) => each.type))].sort();
  $("legend").replaceChildren(...types.map((type) => make("li", { hue: hueOf(type) }, type)));
  if (linked.text) $("status").textContent = `${links.length} ${links.length === 1 ? "mention" : "mentions"}`;
  if (!links.includes(chosen)) { chosen = null; clearDetails(); }
}

function mention(piece, of) {
  const told = [of.title, of.description].filter(Boolean).join(" – ");
  const facts = [of.type, `score ${of.score.toFixed(2)}`];
  if (of.prob !== null) facts.push(`probability ${of.prob.toFixed(2)}`);
  return make("button", {
    class: "mention", type: "button", hue: hueOf(of.type), dir: "auto",
    title: `${told} (${facts.join(", ")})`,
    "aria-pressed": String(of === chosen),
    onclick: (event) => choose(of, event.currentTarget),
  }, piece);
}

async function choose(of, button) {
  chosen = of;
  for (const each of document.querySelectorAll(".mention")) {
    each.setAttribute("aria-pressed", String(each === button));
  }
  const current = linked;
  showDetails(current.text, of, explainedSpan(current, of));
  if (matchMedia("(max-width: 52rem)").matches) $("details").scrollIntoView({ block: "nearest" });
  try {
    current.explaining ??= explain(current);
    await current.explaining;
    if (chosen === of) showDetails(current.text, of, explainedSpan(current, of));
  } catch (error) { current.explaining = null; fail(error); }
}

async function explain(current) {
  const { results: [answer] } = await ask("POST", "/link", {
    text: current.text, explain: true, ...(usual === null ? {} : { threshold: lowest() }),
  });
  current.spans = answer.explanation.spans;
}

/* What explain says about a mention: spans that passed have the bounds of their tokens. */
function explainedSpan(current, of) {
  const at = ([start, end]) => current.spans?.find((span) =>
    span.start === start && span.end === end && span.candidates[0]?.id === of.id);
  return at(of.tokens) ?? at([of.start, of.end]);
}

function forget() {
  const button = document.querySelector(".mention[aria-pressed=true]");
  button?.setAttribute("aria-pressed", "false");
  chosen = null;
  clearDetails();
}

function setThreshold(value) {
  $("threshold").value = value;
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
  show($("reset"), usual !== null && Math.abs(Number($("threshold").value) - usual) > 0.026);
}

async function begin() {
  clearDetails();
  $("link").addEventListener("click", link);
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); link(); }
  });
  $("threshold").addEventListener("input", () => { setThreshold($("threshold").value); render(); });
  $("reset").addEventListener("click", () => { setThreshold(usual); render(); $("threshold").focus(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") forget(); });
  try {
    const health = await ask("GET", "/health");
    usual = health.threshold;
    $("about").textContent = `${health.pipeline}, ${health.entities.toLocaleString()} entities`;
    $("text").maxLength = 2 * health.max_chars;
    if (usual === null) show($("threshold").parentElement, false);
    else { $("threshold").min = Math.min(-8, Math.floor(usual - 2)); setThreshold(usual); }
    prepare(health, link);
  } catch (error) { fail(error); }
}

begin();
