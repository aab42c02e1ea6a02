"""The report in a browser: nothing is loaded, nothing breaks, tables filter and sort, a telephone shows all of it.

It needs Chromium, which .ci/run installs where it can, and which is looked for under the names that Debian and others
give it; without one, all of this is skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stages import report
from stages.reporting import results
from tests.test_report import EXPERIMENTS, params, write_results

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make the report on small made-up results; gives its address."""
    data = tmp_path_factory.mktemp("data")
    write_results(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "DATA", data)
        report.write(params(list(EXPERIMENTS)), data / "report")
    return (data / "report" / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def troubles() -> list[str]:
    """What a page of this test asked for or complained about."""
    return []


@pytest.fixture
def page(browser: Browser, address: str, troubles: list[str]) -> Iterator[Page]:
    """Open the report in a wide window, without animation; any error or request beside it is a trouble."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    opened.on("console", lambda message: troubles.append(f"console {message.type}: {message.text}"))
    opened.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    opened.on("request", lambda request: troubles.append(request.url) if request.url != address else None)
    opened.goto(address)
    yield opened
    context.close()


def shown(page: Page, table: str) -> list[str]:
    """The first cells of a table's rows that are shown, without headings of groups, in order."""
    rows = page.locator(f"#{table} tbody tr:not(.group):visible")
    return [text.split("\n")[0].strip() for text in rows.locator("th").all_inner_texts()]


def test_nothing_is_loaded_and_nothing_complains(page: Page, troubles: list[str]) -> None:
    page.locator("svg [data-tip]").first.hover()
    page.get_by_role("button", name="Task").click()
    assert [one for one in troubles if not one.startswith("data:")] == []


def test_words_filter_a_table_and_are_counted(page: Page) -> None:
    form, every = page.locator('form[data-table="headlines"]'), shown(page, "headlines")
    assert len(every) == len(EXPERIMENTS)
    form.get_by_role("searchbox").fill("SLOTS crf")
    assert page.locator("#headlines tbody tr:not(.group):visible .key").all_inner_texts() == ["slots_crf"]
    assert form.locator("output").inner_text() == f"1 of {len(EXPERIMENTS)} rows"
    assert page.locator("#headlines .group:visible").count() == 1
    form.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('form[data-table=headlines] output').textContent.startsWith('all')")
    assert shown(page, "headlines") == every


def test_a_kind_of_model_filters_a_table(page: Page) -> None:
    page.locator('form[data-table="headlines"] select[name="kind"]').select_option("Peer")
    assert page.locator("#headlines tbody tr:not(.group):visible .key").all_inner_texts() == ["slots_crf"]


def test_a_heading_sorts_by_number_and_back_by_keyboard(page: Page) -> None:
    def means() -> list[float]:
        cells = page.locator("#headlines tbody tr:not(.group):visible td:nth-of-type(2) data:first-of-type")
        return [float(str(cell.get_attribute("value"))) for cell in cells.all()]

    before, head = means(), page.locator("#headlines thead th").nth(2)
    button = head.get_by_role("button")
    button.focus()
    for order, wanted in (("ascending", sorted(before)), ("descending", sorted(before)[::-1]), ("none", before)):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        assert means() == wanted
    assert before != sorted(before)


def test_sorting_and_filtering_go_together(page: Page) -> None:
    page.locator("#headlines thead th").nth(2).get_by_role("button").click()
    page.locator('form[data-table="headlines"]').get_by_role("searchbox").fill("slots")
    keys = page.locator("#headlines tbody tr:not(.group):visible .key").all_inner_texts()
    assert keys == ["slots_lstm", "slots_crf", "slots_bilstm"]


def test_a_mark_says_its_figure(page: Page) -> None:
    mark = page.locator("#overview ~ .charts svg [data-tip*='seed 1']").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert page.locator("#tip").inner_text() == mark.get_attribute("data-tip")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nothing_sticks_out_of_the_page(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_narrow_page_shows_who_wins_as_cards(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    scroller = page.locator(".scroll:has(#winners-table)")
    assert scroller.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert page.locator("#winners-table tbody tr").first.is_visible()


def test_the_keyboard_comes_to_the_results_first(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_dark_and_light_differ(page: Page) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = ground()
    page.emulate_media(color_scheme="dark")
    assert light == "rgb(255, 255, 255)"
    assert ground() != light


def test_paper_shows_what_is_folded_and_no_controls(page: Page) -> None:
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("form.filter:visible, nav:visible").count() == 0
    page.set_viewport_size({"width": 720, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 720


def test_every_region_and_control_has_a_name(page: Page) -> None:
    unnamed = """() => [...document.querySelectorAll("[role=region], nav, section, article, svg[role=img], form")]
        .filter((one) => !one.getAttribute("aria-label") && !one.getAttribute("aria-labelledby"))
        .map((one) => one.outerHTML.slice(0, 120))"""
    assert page.evaluate(unnamed) == []
    levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all("(found) => found.map((head) => +head.tagName[1])")
    assert levels[0] == 1
    assert [pair for pair in zip(levels, levels[1:], strict=False) if pair[1] - pair[0] > 1] == []
