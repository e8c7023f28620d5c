"""The page that `visualise` fills in: markup, style and the few lines of script, nothing remote."""

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
  --correct: #cdebd3; --boundary: #fbe8b0; --wrong: #f8c9c4; --missed: #d9d5f3;
  --spurious: #fbd3ad;
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { margin: 0; font-size: 1.45rem; overflow-wrap: anywhere; }
header p { margin: .15rem 0 1.25rem; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--rule); }
th, td { padding: .4rem .8rem; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .8rem; border-bottom: 1px solid var(--rule); }
td { font-variant-numeric: tabular-nums; }
nav {
  position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem;
  margin: 1.25rem 0 .75rem; padding: .6rem 0; background: var(--paper);
}
button {
  padding: .3rem .7rem; border: 2px solid transparent; border-radius: .5rem; color: inherit;
  font: inherit; font-size: .9rem; cursor: pointer;
}
button small { color: #4a5064; }
button[aria-pressed="true"], button:focus-visible { border-color: var(--ink); outline: none; }
.correct { background: var(--correct); } .boundary { background: var(--boundary); }
.wrong { background: var(--wrong); } .missed { background: var(--missed); }
.spurious { background: var(--spurious); }
article {
  position: relative; margin: .6rem 0; padding: .7rem 1rem .7rem 3.2rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: .6rem;
}
.number { position: absolute; left: .9rem; color: var(--soft); font-size: .8rem; top: .85rem; }
.line { display: flex; gap: .9rem; padding: .12rem 0; }
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
<div class="scroll">$metrics</div>
</header>
<nav aria-label="Show only texts with">$legend</nav>
<main>
$rows
<p id="none" hidden>No text is of this kind.</p>
</main>
<script>
const buttons = [...document.querySelectorAll("nav button")];
const texts = [...document.querySelectorAll("article")];
function show() {
  const wanted = buttons.filter(b => b.getAttribute("aria-pressed") === "true")
    .map(b => b.dataset.kind);
  for (const text of texts) {
    const kinds = text.dataset.kinds.split(" ");
    text.hidden = wanted.length > 0 && !wanted.some(kind => kinds.includes(kind));
  }
  document.getElementById("none").hidden = texts.some(text => !text.hidden);
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    show();
  });
}
</script>
</body>
</html>
"""
