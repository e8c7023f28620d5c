"""The page in a browser: links, threshold, candidates, entities; nothing from elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from spacy_elq.annotate import without_overlaps

from ..helpers import TEXTS
from .conftest import serving

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
]

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
ALL = [row["text"] for row in TEXTS]


@pytest.fixture(scope="module")
def served(trained_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = shutil.copytree(trained_path, tmp_path_factory.mktemp("page") / "pipeline")
    with serving(path) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as browsers:
        yield browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(served: Any, browser: Any) -> Iterator[Any]:
    """The page, opened. What it asks for is in `page.asked`; a fault of a script fails the test."""
    page = browser.new_page(base_url=str(served.base_url), viewport={"width": 1000, "height": 700})
    page.set_default_timeout(60_000)  # a busy machine
    page.asked, faults = [], []
    page.on("request", lambda request: page.asked.append((request.method, request.url)))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.goto("/")
    page.wait_for_selector("#add:not([hidden])")
    yield page
    page.close()
    assert not [fault for fault in faults if "status of 4" not in fault]
    assert all(url.startswith(str(served.base_url)) for _, url in page.asked)


def link(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Control+Enter")
    page.wait_for_function(
        "text => document.getElementById('linked').textContent === text", arg=text
    )


def mentions(page: Any) -> list[str]:
    return page.locator(".mention").all_text_contents()


def move(page: Any, threshold: float) -> None:
    page.locator("#threshold").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", threshold
    )


def test_a_text_is_linked_and_explained(page):
    link(page, ALL[1])
    assert mentions(page) == ["paris"]
    assert "Paris Hilton" in page.get_attribute(".mention", "title")
    assert page.locator("#legend").inner_text() == "person"
    page.focus(".mention")
    page.keyboard.press("Enter")
    page.wait_for_selector("#details .candidates .value >> text=meaning")
    details = page.locator("#details").inner_text()
    assert "Paris Hilton" in details and "media personality" in details and "Q2" in details
    page.keyboard.press("Escape")
    assert "Choose a mention" in page.locator("#details").inner_text()


def test_the_slider_needs_no_request(page, served):
    text = ALL[0] + " " + ALL[2]
    link(page, text)
    page.wait_for_load_state("networkidle")
    asked = len(page.asked)
    body = {"text": text, "floor": -8}
    considered = served.post("/link", json=body).json()["results"][0]["considered"]
    seen = set()
    for threshold in (-8, -5, -2.5, -1.7, -0.05, 0):
        move(page, threshold)
        above = [each for each in considered if each["score"] > threshold]
        kept = [above[i] for i in without_overlaps(tuple(each["tokens"]) for each in above)]
        kept.sort(key=lambda each: each["start"])
        assert mentions(page) == [each["text"] for each in kept]
        seen.add(len(kept))
    assert len(page.asked) == asked and len(seen) > 1
    page.click("#reset")
    assert page.locator("#threshold-value").inner_text() == "-1.70"


def test_overlaps_are_resolved_as_in_python(page):
    random = Random(0)
    lists = []
    for _ in range(300):
        starts = [random.randrange(30) for _ in range(random.randrange(12))]
        lists.append([(start, start + random.randint(1, 8)) for start in starts])
    found = page.evaluate(
        "async (lists) => { const { withoutOverlaps } = await import('/page/spans.js');"
        " return lists.map(withoutOverlaps); }",
        lists,
    )
    assert found == [without_overlaps(ranges) for ranges in lists]


def test_offsets_count_code_points(page):
    random = Random(1)
    cases = []
    for _ in range(100):
        text = "".join(random.choice("aé\U0001d4b3🏀\u05d0\u0301 \n") for _ in range(20))
        cuts = sorted(random.sample(range(21), 4))
        cases.append((text, [{"start": a, "end": b} for a, b in (cuts[:2], cuts[2:])]))
    found = page.evaluate(
        "async (cases) => { const { pieces } = await import('/page/spans.js');"
        " return cases.map(([text, links]) => pieces(text, links).map(([p, of]) => [p, !!of])); }",
        cases,
    )
    for (text, links), parts in zip(cases, found, strict=True):
        assert "".join(piece for piece, _ in parts) == text
        assert [piece for piece, is_link in parts if is_link] == [
            text[each["start"] : each["end"]] for each in links
        ]


def test_right_to_left_and_astral_texts(page):
    text = "🏀🏀 who did paris marry, \u05e9\u05dc\u05d5\u05dd"
    link(page, text)
    assert "paris" in mentions(page)
    link(page, "\u05e9\u05dc\u05d5\u05dd paris")
    direction = page.locator("#linked").evaluate("e => getComputedStyle(e).direction")
    assert direction == "rtl"


def search(page: Any, query: str) -> None:
    page.fill("#query", query)
    page.press("#query", "Enter")


def test_an_entity_is_added_and_linked(page, served):
    before = served.get("/entities/Q2").json()
    page.on("dialog", lambda dialog: dialog.accept())
    search(page, "Paris Hilton")
    page.click("#found button >> text=Paris Hilton")
    page.click("#remove")
    page.wait_for_selector("#entity", state="hidden")
    page.click("#add")
    page.fill("#entity [name=id]", "X/1 ü")
    page.fill("#entity [name=title]", f"Paris Hilton {HOSTILE}")
    page.fill("#entity [name=description]", "media personality")
    page.fill("#entity [name=aliases]", f"Paris\n{HOSTILE}")
    page.fill("#entity [name=type]", HOSTILE)
    page.fill("#text", "who did paris marry")
    page.click("#entity button[type=submit]")
    page.wait_for_selector(f"#legend >> text={HOSTILE[:10]}")
    assert mentions(page) == ["paris"]
    page.click(".mention")
    page.wait_for_selector("#details .candidates .value >> text=meaning")
    assert HOSTILE in page.locator("#details").inner_text()
    search(page, "paris hilton")
    page.click("#found button >> text=onerror")
    assert page.input_value("#entity [name=aliases]") == f"Paris\n{HOSTILE}"
    page.fill("#entity [name=description]", "someone")
    page.click("#entity button[type=submit]")
    page.wait_for_selector("#entity", state="hidden")
    assert served.get("/entities/X%2F1%20%C3%BC").json()["description"] == "someone"
    assert page.title() == "spacy-elq"
    assert served.put("/entities/Q2", json=before).status_code == 201
    assert served.delete("/entities/X%2F1%20%C3%BC").status_code == 204


def test_errors_are_shown(page, served):
    page.locator("#text").evaluate("e => e.removeAttribute('maxlength')")
    page.fill("#text", "a" * (served.service.max_chars + 1))
    page.click("#link")
    page.wait_for_selector("#error:not([hidden])")
    assert "--max-chars" in page.locator("#error").inner_text()
    link(page, ALL[1])
    assert page.locator("#error").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
def test_it_fits_and_can_be_read(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 600})
    link(page, " ".join(ALL))
    page.click(".mention >> nth=0")
    page.wait_for_selector("#details .candidates .value >> text=meaning")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    contrasts = page.locator(".mention, .quiet, button, dt, h2").evaluate_all(CONTRAST)
    assert min(contrasts) >= 4.5


# Contrast of each element's text, as WCAG defines it.
CONTRAST = """elements => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d');
  const luminance = (color) => {
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
      const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => { while (e) {
    const color = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(color)) return color;
    e = e.parentElement; } return 'white'; };
  return elements.filter((e) => e.textContent.trim() && e.checkVisibility()).map((e) => {
    const pair = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
}"""


def test_the_interface_is_described_offline(page, served):
    page.goto("/docs")
    page.wait_for_selector("section >> text=POST /link")
    assert "mention_kinds" in page.locator("main").inner_text()
    policy = served.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    paths = json.loads(served.get("/openapi.json").text)["paths"]
    assert {"/link", "/entities", "/entities/{id}", "/health", "/ready", "/metrics"} == set(paths)
