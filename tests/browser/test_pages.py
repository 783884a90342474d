"""Every page of a report in a real Chromium: its width, its silence, what axe-core says of it, its paper."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chromium import browser
from many import findings, stack

from celery_triage import bundle, report
from celery_triage.model import dumps
from celery_triage.notebook import Look
from celery_triage.report import archive
from celery_triage.summary import summary

SAMPLE = Path(__file__).resolve().parents[2] / "reports" / "sample"
WIDTHS = {360: 740, 768: 1024, 1440: 900}
BOOKS = sorted(path.stem for path in (SAMPLE.parents[1] / "runbooks").glob("*.ipynb"))
NEWEST, BEFORE = "2026-11-24T100000Z_demo_ai_backend", "2026-11-23T100000Z_demo_ai_backend"
PAGES = [
    "index.html",
    f"{NEWEST}/index.html",
    f"{NEWEST}/rules.html",
    *(f"{NEWEST}/{name}.html" for name in BOOKS),
    "many/index.html",
]


@dataclass
class Seen:
    """What a page did when it was opened: requests beside its own, scripts, words on the console."""

    page: Any
    requests: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> Path:
    """An archive as runs leave it: a report of the recorded incident with all its runbooks, one before it in
    which another cause was active, and beside them one on 100 services with 1 000 findings."""
    folder = tmp_path_factory.mktemp("reports")
    recorded = bundle.load(SAMPLE / "evidence")
    look = Look(recorded)
    now = summary(look.diagnosis, recorded)
    gone = {**now["findings"][0], "code": "BRK001", "title": "redis is down", "id": "x"}
    told = {**now, "taken_at": "2026-11-23T10:00:00Z", "origin": "evidence"}
    told["findings"] = [gone, *now["findings"][1:]]
    for name, seen in ((BEFORE, look), ("many", Look(stack(), given=findings()))):
        (folder / name).mkdir()
        report.write_pages(folder / name, seen, [], patch=True)
    (folder / BEFORE / "summary.json").write_text(dumps(told))
    archive.refresh(folder, folder / BEFORE, told, live=False)
    made = report.run(recorded, folder, made=datetime(2026, 11, 24, 10, tzinfo=UTC))
    assert made.path.name == NEWEST and made.stopped == ()
    return folder


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


def opened(chromium: Any, path: Path, **options: Any) -> Seen:
    """The page, opened with scripts allowed, so that one that could run would be noticed."""
    page = chromium.new_context(viewport={"width": 360, "height": 740}, **options).new_page()
    seen = Seen(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    session = page.context.new_cdp_session(page)
    # Playwright's own scripts have no address, one that stands in a page has that of the page.
    session.on("Debugger.scriptParsed", lambda script: seen.scripts.append(script["url"]))
    session.send("Debugger.enable")
    page.goto(path.as_uri())
    seen.requests = [url for url in seen.requests if url != path.as_uri() and not url.startswith("data:")]
    seen.scripts = [url for url in seen.scripts if url]
    return seen


def too_wide(page: Any) -> list[str]:
    """What is wider than the page at each width; a table or picture may scroll in its own frame."""
    found = []
    for wide, high in WIDTHS.items():
        page.set_viewport_size({"width": wide, "height": high})
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found += [f"{over} px too wide at {wide} px"] if over > 0 else []
    return found


def violations(page: Any, *, rules: Sequence[str] = (), without: Sequence[str] = ()) -> list[str]:
    """What axe-core finds, each rule with the first places; only by these ``rules``, or ``without`` some."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    if without:
        options["rules"] = {rule: {"enabled": False} for rule in without}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes'][:4]]}" for one in found]


def test_a_page_that_does_all_of_it_wrong_is_noticed(tmp_path, chromium):
    """What the tests below measure can fail: a script, a request, a word on the console, a width, a
    contrast."""
    (tmp_path / "bad.html").write_text(
        "<!doctype html><title>bad</title><script>console.log('ran')</script>"
        "<img src='missing.png'><p style='width:2000px;color:#ddd;background:#fff'>pale and wide</p>"
    )
    seen = opened(chromium, tmp_path / "bad.html")
    assert len(seen.scripts) == 1 and "ran" in seen.said
    assert [Path(url).name for url in seen.requests] == ["missing.png"]
    assert len(too_wide(seen.page)) == 3
    found = " ".join(violations(seen.page))
    assert "color-contrast" in found and "image-alt" in found and "html-has-lang" in found
    seen.page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_each_page_fits_stays_silent_and_passes_axe_in_light_and_dark(name, reports, chromium):
    """No horizontal scroll at 360, 768 and 1440 px, no request, no script, no word on the console, and
    nothing that axe-core objects to, on a phone and on a laptop, in light and dark, folds open or not."""
    seen = opened(chromium, reports / name)
    page = seen.page
    assert (seen.requests, seen.scripts, seen.said) == ([], [], [])
    assert too_wide(page) == []
    if name.startswith("many/"):  # its colours are those of the other pages; to look at each took 20 s
        assert violations(page, without=["color-contrast"]) == []
        page.context.close()
        return
    if name.endswith("index.html"):
        assert violations(page) == []  # 1440 px
    page.emulate_media(color_scheme="dark")
    assert violations(page, rules=["color-contrast", "link-in-text-block"]) == []
    page.emulate_media(color_scheme="light")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert too_wide(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert violations(page) == []
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_each_table_is_read_whole_and_no_option_is_cut(name, reports, chromium):
    """Rows are cards at 360 px: nothing of a table lies beyond its frame, no value lies on its label, and an
    option stands on one line. On a wide page too no name of a service is broken."""
    page = opened(chromium, reports / name).page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    over = "all => all.map(t => t.scrollWidth - t.parentElement.clientWidth).filter(one => one > 1)"
    assert page.eval_on_selector_all(".ct-scroll > table", over) == []
    overlaps = """all => all.filter(td => {
      const own = td.getBoundingClientRect(), text = td.querySelector('span').getBoundingClientRect();
      const label = getComputedStyle(td, '::before');
      return td.checkVisibility() && text.left - own.left < parseFloat(label.width)
          && text.top - own.top < parseFloat(label.height) / 2;
    }).map(td => td.innerText)"""
    assert page.eval_on_selector_all("td[data-label]", overlaps) == []
    lines = "all => all.filter(o => o.getClientRects().length > 1).map(o => o.innerText)"
    assert page.eval_on_selector_all(".ct-o", lines) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    broken = """all => all.filter(td => {
      const span = td.querySelector('span'), lines = span.textContent.split('\\n').length;
      return td.checkVisibility() && new Set([...span.getClientRects()].map(r => r.top)).size > lines;
    }).map(td => td.innerText)"""
    assert page.eval_on_selector_all("td.ct-code.ct-short", broken) == []
    page.context.close()


def test_a_card_on_the_page_of_a_runbook_leads_to_the_page_of_its_rule(reports, chromium):
    """Offline, in the same folder, to a place that is there."""
    page = opened(chromium, reports / NEWEST / "30_launch_commands.html").page
    links = page.eval_on_selector_all("a.ct-rule", "all => all.map(a => a.getAttribute('href'))")
    assert links == ["rules.html#CMD001", "rules.html#CMD002"]
    rules = opened(chromium, reports / NEWEST / "rules.html").page
    assert all(rules.query_selector(f"[id='{link.partition('#')[2]}']") for link in links)
    page.context.close()
    rules.context.close()


def boxes(page: Any, selector: str) -> list[dict[str, float]]:
    return [found for one in page.query_selector_all(selector) if (found := one.bounding_box())]


@pytest.mark.parametrize(("wide", "high", "whole"), [(1440, 900, 2), (1280, 800, 2), (360, 740, 1)])
def test_the_first_screen_tells_verdict_cause_certainty_cure_and_cost(wide, high, whole, reports, chromium):
    """Without scrolling: on a laptop of two causes, on a phone of the first, with the command to copy and
    what it costs to be wrong."""
    page = opened(chromium, reports / NEWEST / "index.html").page
    page.set_viewport_size({"width": wide, "height": high})
    assert boxes(page, "h1")[0]["y"] < high / 4
    for selector in (".ct-title", ".ct-tags", "pre.ct-copy", ".ct-risk"):
        seen = [box for box in boxes(page, f".first {selector}") if box["y"] + box["height"] <= high]
        assert len(seen) >= whole, selector
    page.context.close()


def test_headings_go_down_one_level_at_a_time_and_the_keyboard_goes_in_the_order_of_the_page(
    reports, chromium
):
    """One first heading, no level left out; Tab goes first to the content and then down the page."""
    page = opened(chromium, reports / NEWEST / "index.html").page
    page.set_viewport_size({"width": 1440, "height": 900})
    levels = page.eval_on_selector_all(
        "h1,h2,h3,h4,h5,h6", "all => all.filter(h => h.checkVisibility()).map(h => +h.tagName[1])"
    )
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    places = []
    for _ in range(60):
        page.keyboard.press("Tab")
        places.append(
            page.evaluate(
                "() => {const e = document.activeElement, r = e.getBoundingClientRect();"
                "return [e.className, Math.round(r.top + scrollY), Math.round(r.left), r.width > 0]}"
            )
        )
    assert places[0][0] == "skip" and all(seen for *_, seen in places)
    columns = [top for _, top, left, _ in places[1:] if left < 400]
    assert len(columns) > 15 and columns == sorted(columns)
    page.context.close()


def test_pictures_have_words_and_colour_never_speaks_alone(reports, chromium):
    """Each picture is described, each state has a mark or a word beside its colour."""
    page = opened(chromium, reports / NEWEST / "index.html").page
    alts = page.eval_on_selector_all("img", "all => all.map(i => i.alt)")
    assert len(alts) == 3 and all(len(alt) > 80 for alt in alts)
    assert "From cause to consequence. 1. CMD001, active" in alts[0]
    tags = page.eval_on_selector_all(".ct-tag", "all => all.map(t => t.textContent.trim())")
    assert tags and all(any(letter.isalpha() for letter in text) for text in tags)
    page.context.close()


def test_it_prints_on_a4_in_the_order_of_the_page(reports, chromium):
    """The PDF holds every section in order, folds opened, on pages of A4, dark reader or not."""
    page = opened(chromium, reports / NEWEST / "index.html", color_scheme="dark").page
    pdf = page.pdf(prefer_css_page_size=True)
    papers = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert 3 <= len(papers) <= 12
    assert {(round(float(wide)), round(float(high))) for wide, high in papers} == {(595, 842)}
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 673, "height": 1000})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert violations(page, rules=["color-contrast"]) == []
    # A printer leaves backgrounds out, so nothing may be white on one.
    number = page.eval_on_selector(".ct-n", "n => getComputedStyle(n).color")
    assert number == "rgb(0, 0, 0)"
    tops = page.eval_on_selector_all(
        "main > section", "all => all.map(s => [s.getAttribute('aria-labelledby'), s.offsetTop])"
    )
    names = [name for name, _ in tops]
    expected = "causes services leads picture lives proof since unknown pages about".split()
    assert [name for name in names if name in expected] == expected
    assert [top for _, top in tops] == sorted(top for _, top in tops)
    assert page.evaluate("[...document.querySelectorAll('.ct-verify')].every(l => l.offsetHeight > 0)")
    page.context.close()


def test_what_changed_since_the_report_before_is_told_and_led_to(reports, chromium):
    """On the first screen in a sentence, below with titles; what is still there leads to its card, the
    report before is one link away."""
    page = opened(chromium, reports / NEWEST / "index.html").page
    told = page.inner_text(".meta")
    assert "Since the report before: 1 new, 1 resolved," in told
    section = page.inner_text("section[aria-labelledby=since]")
    assert "redis is down" in section and "said critical" in section
    links = page.eval_on_selector_all(
        "section[aria-labelledby=since] a", "all => all.map(a => a.getAttribute('href'))"
    )
    assert links[0] == f"../{BEFORE}/index.html"
    anchors = [link[1:] for link in links[1:]]
    assert anchors and all(page.query_selector(f"[id='{id}']") for id in anchors)
    assert "Since the report before" not in (reports / BEFORE / "index.html").read_text()
    page.context.close()


def test_a_hundred_services_with_a_thousand_findings_stay_a_page(reports, chromium):
    """Under 2 MB (the incident under 300 KB), every finding named, the first cause at the top, ready in
    less than 10 s."""
    assert (reports / NEWEST / "index.html").stat().st_size < 300_000
    assert (reports / "many" / "index.html").stat().st_size < 2_000_000
    page = opened(chromium, reports / "many" / "index.html").page
    page.set_viewport_size({"width": 1440, "height": 900})
    assert boxes(page, ".first .ct-title")[0]["y"] < 400
    text = page.text_content("main")
    assert all(finding.title in text for finding in findings().findings)
    links = page.eval_on_selector_all("main a[href^='#']", "all => all.map(a => a.getAttribute('href'))")
    assert len(links) > 40 and all(page.query_selector(f"[id='{link[1:]}']") for link in links)
    timing = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
    assert timing["domComplete"] < 10_000
    page.context.close()
