"""The page that `report` fills in: markup, style and the few lines of script, nothing remote."""

# Address of an entity, {} is its id.
ENTITY_PAGE = "https://www.wikidata.org/wiki/{}"
# string.Template: $name is filled in.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$heading</title>
<style>
:root {
  --ink: #1f2430; --soft: #697086; --rule: #e3e6ee; --paper: #f6f7fa; --card: #fff;
  --correct: #cdebd3; --boundary: #fbe8b0; --lower: #f8c9c4; --absent: #efb0c8;
  --missed: #d9d5f3; --spurious: #fbd3ad;
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { margin: 0; font-size: 1.45rem; overflow-wrap: anywhere; }
header p { margin: .15rem 0 1.25rem; color: var(--soft); }
h2 { margin: 2rem 0 .6rem; font-size: 1.1rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--rule); }
th, td { padding: .4rem .8rem; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .8rem; border-bottom: 1px solid var(--rule); }
td { font-variant-numeric: tabular-nums; }
.left td:nth-child(-n+2), .left th:nth-child(-n+2) { text-align: left; }
td a { color: inherit; } td a:not(:hover) { text-decoration: none; }
td small { color: var(--soft); }
.chip { padding: .1rem .5rem; border-radius: .35rem; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.curves:empty { display: none; }
figure {
  margin: 0; padding: .8rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: .6rem;
}
figcaption { color: var(--soft); font-size: .85rem; }
svg { display: block; width: 100%; height: auto; font-size: 11px; fill: var(--soft); }
polyline { fill: none; }
.grid { stroke: var(--rule); } .guide { stroke: var(--soft); stroke-dasharray: 4 4; }
.line { stroke-width: 2; }
polyline.s0 { stroke: #2f6fdb; } polyline.s1 { stroke: #d9602b; } polyline.s2 { stroke: #2a9d5c; }
circle.s0 { fill: #2f6fdb; }
nav {
  position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem;
  margin: 1.25rem 0 .75rem; padding: .6rem 0; background: var(--paper);
}
input {
  flex: 1 1 12rem; padding: .3rem .7rem; border: 1px solid var(--rule); border-radius: .5rem;
  font: inherit; font-size: .9rem;
}
button {
  padding: .3rem .7rem; border: 2px solid transparent; border-radius: .5rem; color: inherit;
  font: inherit; font-size: .9rem; cursor: pointer;
}
button[aria-pressed="true"], button:focus-visible { border-color: var(--ink); outline: none; }
.correct { background: var(--correct); } .boundary { background: var(--boundary); }
.lower { background: var(--lower); } .absent { background: var(--absent); }
.missed { background: var(--missed); }
.spurious { background: var(--spurious); }
article {
  position: relative; margin: .6rem 0; padding: .7rem 1rem .7rem 3.2rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: .6rem;
}
.number { position: absolute; left: .9rem; color: var(--soft); font-size: .8rem; top: .85rem; }
div.line { display: flex; gap: .9rem; padding: .12rem 0; }
.who { flex: 0 0 3.2rem; color: var(--soft); font-size: .8rem; padding-top: .2rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.9; }
mark { padding: .16rem .35rem; border-radius: .35rem; color: inherit; }
mark[title] { cursor: help; }
mark a { margin-left: .4rem; color: inherit; font-size: .8rem; font-weight: 600; }
mark a:not(:hover) { text-decoration: none; }
mark a small { font-weight: 400; opacity: .75; }
[hidden] { display: none; }
</style>
</head>
<body>
<header>
<h1>$heading</h1>
<p>$shown</p>
</header>
<h2>Scores</h2>
$metrics
$mentions
<div class="curves">$curves</div>
<h2>Kinds of errors</h2>
<div class="left">$kinds</div>
<h2>Entities that were confused</h2>
<div class="left">$confused</div>
<h2>Texts</h2>
<nav aria-label="Show only texts with">$legend<input type="search" id="search"
  placeholder="Search texts and entities" aria-label="Search texts and entities"></nav>
<p id="count" aria-live="polite"></p>
<main>
$rows
<p id="none" hidden>There is no such text.</p>
</main>
<script>
const buttons = [...document.querySelectorAll("nav button")];
const texts = [...document.querySelectorAll("article")];
const contents = texts.map(text => text.textContent.toLowerCase());
const search = document.getElementById("search");
function show() {
  const wanted = buttons.filter(b => b.getAttribute("aria-pressed") === "true")
    .map(b => b.dataset.kind);
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let left = 0;
  texts.forEach((text, i) => {
    const kinds = text.dataset.kinds.split(" ");
    text.hidden = (wanted.length > 0 && !wanted.some(kind => kinds.includes(kind)))
      || !words.every(word => contents[i].includes(word));
    left += !text.hidden;
  });
  document.getElementById("count").textContent = left + " of " + texts.length + " texts";
  document.getElementById("none").hidden = left > 0;
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    show();
  });
}
search.addEventListener("input", show);
show();
</script>
</body>
</html>
"""
