"""The page as a reader meets it: in a real browser, opened from disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from entrostat.report import View, read_runs, write_page
from entrostat.report.plotly_file import shared_name
from made_up_runs import evaluation, response_map

pytestmark = pytest.mark.browser

FIGURES = ("entropy", "reward", "clip", "regions", "passk")
"""Those of every run that are made of lines."""
HOSTILE = (
    "</script><img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "<a href='javascript:window.pwned=1'>go</a><b>x</b>",
    "&lt;b&gt; &amp; $x^2$ %{y} ]]> <!--",
)


def wait(browser: Chrome, script: str) -> Any:
    return WebDriverWait(browser, 300).until(lambda driver: driver.execute_script(f"return {script}"))


@pytest.fixture
def show(browser: Chrome, tmp_path: Path) -> Callable[..., Chrome]:
    """Opens the report of some runs in a colour scheme, and waits until it is drawn."""

    def show(runs: list[Path], *, scheme: str = "light", inline: bool = False, view: View | None = None) -> Chrome:
        size = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get_log("browser")
        out = write_page(read_runs(runs), tmp_path / "report.html", inline=inline, view=view)
        browser.get(out.as_uri())
        wait(browser, "document.documentElement.dataset.drawn")
        return browser

    return show


@pytest.fixture
def pair(make_run: Callable[..., Path]) -> list[Path]:
    return [make_run("a", "grpo"), make_run("b", "clip-lower", end=0.3, most=0.88, low=0.15, high=float("inf"))]


def visible(browser: Chrome, figure: str) -> list[str]:
    """Legend groups of the traces that are drawn in `figure`."""
    script = "return [...new Set(document.getElementById(arguments[0]).data.filter(t => t.visible === true)"
    return browser.execute_script(f"{script}.map(t => t.legendgroup))]", figure)


def drawn_lines(browser: Chrome, figure: str) -> list[str]:
    """The path data of all lines that stand in the figure's SVG."""
    lines = "document.querySelectorAll(`#${arguments[0]} .scatterlayer path.js-line`)"
    return browser.execute_script(f"return [...{lines}].map(p => p.getAttribute('d'))", figure)


def test_every_figure_is_drawn_without_a_message_or_a_request(show, pair):
    browser = show(pair, inline=True)
    for figure in FIGURES:
        lines = drawn_lines(browser, figure)
        assert len(lines) >= 2 and all(path.count("L") >= 1 for path in lines), figure
    assert all(path.count("L") > 50 for path in drawn_lines(browser, "entropy"))
    assert len(drawn_lines(browser, "regions")) == 4 + 4 + 4 + 2  # clip-lower clips nothing in E1 and E4
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.querySelectorAll('[src], link:not([href^=\"data:\"])').length") == 0


def test_a_page_beside_its_plotly_js_asks_for_nothing_else(show, pair):
    browser = show(pair)
    assert len(drawn_lines(browser, "entropy")) == 2
    assert browser.execute_script("return [...document.querySelectorAll('[src]')].map(e => e.getAttribute('src'))") == [
        shared_name()
    ]
    assert browser.get_log("browser") == []


def test_a_page_that_lost_its_plotly_js_says_so(browser, pair, tmp_path):
    page = write_page(read_runs(pair), tmp_path / "pages" / "report.html")
    (page.parent / shared_name()).unlink()
    browser.get(page.as_uri())
    said = browser.find_element(By.ID, "lost")
    assert said.is_displayed() and shared_name() in said.text and "--inline" in said.text
    assert not browser.find_element(By.ID, "controls").is_displayed()
    browser.get_log("browser")  # the missing file


def numbers(browser: Chrome, figure: str, axis: str = "y") -> list[list[float]]:
    """x or y of the figure's traces, as plotly.js has them."""
    return browser.execute_script(f"return document.getElementById(arguments[0]).data.map(t => t.{axis})", figure)


def test_a_line_is_smoothed_as_its_legend_says_and_the_target_is_not(show, make_run):
    run = make_run("a", "thermostat", steps=6, end=0.35, target=0.35, steered=True)
    browser = show([run])
    entropy, target, held_out = numbers(browser, "entropy")
    key = browser.find_element(By.CSS_SELECTOR, "ul.key")
    assert "mean of" not in key.text
    field = browser.find_element(By.ID, "smooth")
    field.clear()
    field.send_keys("4", Keys.ENTER)
    wait(browser, "document.getElementById('entropy').data.length === 4")
    faint, strong, *others = numbers(browser, "entropy")
    assert (faint, others) == (entropy, [target, held_out])
    # the value, one before it and two behind it, as far as there are any
    around = [entropy[max(0, i - 1) : i + 3] for i in range(6)]
    assert strong == pytest.approx([sum(values) / len(values) for values in around])
    legend = browser.find_elements(By.CSS_SELECTOR, "#entropy .legendtext")
    assert [entry.text for entry in legend] == ["thermostat, mean of 4"]
    assert "each point the mean of 4 rollouts around it" in key.text and "the same as logged" in key.text
    assert browser.get_log("browser") == []


def test_a_smoothing_that_is_asked_for_is_there_when_the_page_opens(show, pair):
    browser = show(pair, view=View(smooth=9))
    assert len(numbers(browser, "entropy")) == 4
    assert "mean of 9 rollouts" in browser.find_element(By.CSS_SELECTOR, "ul.key").text


def test_curves_move_over_time_and_a_run_without_it_is_named(show, pair):
    lines = (f'{{"step": {k}, "seconds": 30}}\n' for k in range(100))
    (pair[0] / "timing.jsonl").write_text("".join(lines))
    browser = show(pair)
    notice = browser.find_element(By.CSS_SELECTOR, "[data-axis=time]")
    assert not notice.is_displayed()
    browser.find_element(By.CSS_SELECTOR, "#axis option[value=time]").click()
    wait(browser, "document.getElementById('entropy').data.length === 1")
    assert numbers(browser, "entropy", "x")[0] == pytest.approx([0.5 * (k + 1) for k in range(100)])
    title = "return document.getElementById('clip').layout.xaxis.title.text"
    assert browser.execute_script(title) == "time, minutes"
    assert notice.text.endswith("clip-lower, seed 0.") and notice.is_displayed()
    assert not browser.find_element(By.CSS_SELECTOR, "#axis option[value=tokens]").is_enabled()
    assert len(visible(browser, "passk")) == 3  # scores stand over k
    assert browser.get_log("browser") == []


def test_no_button_sends_the_figures_anywhere(show, pair):
    browser = show(pair)
    names = "return [...document.querySelectorAll('#entropy .modebar-btn')].map(b => b.dataset.title)"
    assert browser.execute_script(names) == ["Download plot as a PNG", "Zoom", "Pan", "Reset axes"]


def test_pixels_follow_the_numbers(show, make_run):
    """Entropy falls, so its line goes down the screen; the axis is linear and starts at zero."""
    browser = show([make_run("a", "grpo", end=0.08)])
    path = drawn_lines(browser, "entropy")[0]
    points = [tuple(map(float, point.split(","))) for point in path[1:].split("L")]
    values = browser.execute_script("return document.getElementById('entropy').data[0].y")
    low, high = browser.execute_script("return document.getElementById('entropy').layout.yaxis.range")
    assert low == pytest.approx(0, abs=0.02)
    tall = browser.execute_script("return document.getElementById('entropy')._fullLayout.yaxis._length")
    assert points[0][1] == pytest.approx(tall * (high - values[0]) / (high - low), abs=0.5)
    assert points[-1][1] == pytest.approx(tall * (high - values[-1]) / (high - low), abs=0.5)


def test_a_click_in_a_legend_hides_a_label_in_all_figures(show, pair):
    browser = show(pair)
    before = len(drawn_lines(browser, "entropy"))
    entry = browser.find_elements(By.CSS_SELECTOR, "#entropy .legendtoggle")[0]
    ActionChains(browser).scroll_to_element(entry).click(entry).perform()
    wait(browser, "document.getElementById('passk').data.some(t => t.visible === 'legendonly')")
    assert [visible(browser, figure) for figure in FIGURES] == [["g1"]] * 4 + [["base", "g1"]]
    assert len(drawn_lines(browser, "entropy")) == before - 1
    assert not browser.find_element(By.CSS_SELECTOR, "[data-group=g0]").is_selected()
    again = browser.find_elements(By.CSS_SELECTOR, "#entropy .legendtoggle")[0]
    # plotly.js takes two clicks within .3 s for a double click
    ActionChains(browser).pause(0.5).click(again).perform()
    wait(browser, "document.getElementById('passk').data.every(t => t.visible === true)")


def test_a_double_click_shows_a_label_alone(show, pair):
    browser = show(pair)
    entry = browser.find_elements(By.CSS_SELECTOR, "#reward .legendtoggle")[1]
    # in one task: a busy machine may deliver a driver's two clicks too far apart for a double click
    twice = "for (const kind of ['mousedown', 'mouseup', 'mousedown', 'mouseup'])"
    browser.execute_script(f"{twice} arguments[0].dispatchEvent(new MouseEvent(kind, {{bubbles: true}}))", entry)
    wait(browser, "document.getElementById('entropy').data[0].visible === 'legendonly'")
    assert visible(browser, "passk") == ["g1"]


@pytest.fixture
def steered(make_run: Callable[..., Path]) -> list[Path]:
    """A thermostat run and another, with maps, and evaluations on the way."""
    between = {k: evaluation(0.41 + 0.001 * k, 0.98 - 0.001 * k) for k in (25, 50, 75)}
    maps = {step: response_map(step) for step in (0, 50, 90)}
    thermostat = make_run("a", "thermostat", end=0.35, target=0.35, steered=True, maps=maps, between=between)
    return [thermostat, make_run("b", "grpo", maps={step: response_map(step, high=None) for step in (0, 90)})]


def test_scores_by_temperature_are_drawn_with_a_ring_at_the_best(show, make_run):
    by_temperature = {"1": evaluation(0.4, 0.9), "0.5": evaluation(0.5, 0.8), "0.1": evaluation(0.45, 0.6)}
    record = {"by_temperature": by_temperature, "best_temperature": 0.5}
    browser = show([make_run("a", "grpo", summary=record | {"start": evaluation(0.4, 0.9) | record})])
    assert len(drawn_lines(browser, "temperature")) == 4  # two panels, the base model and the run
    assert all(path.count("L") == 2 for path in drawn_lines(browser, "temperature"))
    points = "return document.querySelectorAll('#temperature .scatterlayer path.point').length"
    assert browser.execute_script(points) == 4 * 3 + 4
    assert browser.get_log("browser") == []


def test_the_thermostat_s_figures_are_drawn(show, steered):
    browser = show(steered)
    assert len(drawn_lines(browser, "control")) == 4
    assert len(drawn_lines(browser, "entropy")) == 3  # two runs and a target
    marks = "return document.querySelectorAll('#entropy .scatterlayer .trace:nth-child(3) path.point').length"
    assert browser.execute_script(marks) == 10
    images = "return document.querySelectorAll('#response .heatmaplayer image').length"
    assert browser.execute_script(images) == 2
    points = "return document.querySelectorAll('#plane .scatterlayer path.point').length"
    assert browser.execute_script(points) == 3 + 1 + 2  # on the way, the base model, ends
    assert len(drawn_lines(browser, "plane")) == 1
    bars = "return document.querySelectorAll('#plane .errorbar .yerror').length"
    assert browser.execute_script(bars) == 6
    assert browser.get_log("browser") == []


def colour_at(browser: Chrome, panel: int, row: int, column: int) -> tuple[int, int, int]:
    """The colour of a cell as the browser paints it: a pixel in the middle of it, of the heat map's own image."""
    script = """
        const [panel, row, column] = arguments;
        const image = document.querySelectorAll('#response .heatmaplayer image')[panel];
        const [width, height] = ['width', 'height'].map(name => +image.getAttribute(name));
        const {z} = document.getElementById('response').data.filter(t => t.type === 'heatmap')[panel];
        const canvas = Object.assign(document.createElement('canvas'), {width, height});
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0, width, height);
        const x = (column + .5) * width / z[0].length, y = height - (row + .5) * height / z.length;
        return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
    """
    return tuple(browser.execute_script(script, panel, row, column))


def test_cells_are_blue_where_entropy_falls_and_orange_where_it_rises(show, steered):
    """Rows go up from the lowest low threshold, columns right from the lowest high one; zero is the light middle."""
    browser = show(steered)
    change = response_map(90)["change"]
    for row, column in ((0, 4), (3, 0), (2, 2), (0, 1), (3, 1)):
        red, green, blue = colour_at(browser, 0, row, column)
        value = change[row][column]
        assert (value > 0) == (red > blue + 5) and (value < 0) == (blue > red + 5), (row, column)
        assert (value == 0) == (min(red, green, blue) > 240)


def test_another_rollout_is_picked_from_the_keyboard_and_stays_when_labels_are_hidden(show, steered):
    browser = show(steered)
    z = "document.getElementById('response').data.filter(t => t.type === 'heatmap').map(t => t.z[0][1])"
    assert browser.execute_script(f"return {z}") == pytest.approx([0.91, 0.91])
    select = browser.find_element(By.CSS_SELECTOR, "select[data-figure=response]")
    select.send_keys(Keys.ARROW_UP)
    wait(browser, f"{z}.length === 1 && Math.abs({z}[0] - 0.51) < 1e-9")
    label = "document.getElementById('response').getAttribute('aria-label')"
    assert "thermostat, seed 0, rollout 50: in force" in browser.execute_script(f"return {label}")
    browser.find_element(By.CSS_SELECTOR, "[data-group=g1]").click()
    wait(browser, "document.getElementById('reward').data.some(t => t.visible === 'legendonly')")
    assert browser.execute_script(f"return {z}") == pytest.approx([0.51])
    assert browser.get_log("browser") == []


def test_the_boxes_work_from_the_keyboard(show, pair):
    browser = show(pair)
    box = browser.find_element(By.CSS_SELECTOR, "[data-group=g1]")
    for _ in range(20):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.switch_to.active_element == box:
            break
    else:
        pytest.fail("the box of the second label can't be reached with the Tab key")
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    wait(browser, "document.getElementById('reward').data.some(t => t.visible === 'legendonly')")
    assert visible(browser, "reward") == ["g0"]


def test_hostile_names_are_shown_and_run_nothing(show, make_run):
    runs = [make_run(f"{i}", config=hostile_config(name)) for i, name in enumerate(HOSTILE)]
    browser = show(runs)
    for details in browser.find_elements(By.TAG_NAME, "summary"):
        details.click()
    assert [entry.text for entry in browser.find_elements(By.CSS_SELECTOR, "#entropy .legendtext")] == list(HOSTILE)
    labels = browser.find_elements(By.CSS_SELECTOR, "table.results tbody tr:not(.base) bdi")
    assert [label.text for label in labels] == list(HOSTILE)
    for name, table in zip(HOSTILE, browser.find_elements(By.CSS_SELECTOR, "table.settings"), strict=True):
        assert f"strategy.options.{name} {name}" in table.text
    assert browser.execute_script("return window.pwned === undefined")
    assert browser.execute_script("return document.querySelectorAll('img, main b, a:not(.skip), svg a').length") == 0
    assert browser.get_log("browser") == []


def hostile_config(name: str) -> dict[str, Any]:
    strategy = {"name": name, "options": {name: name}}
    return {"label": name, "task": name, "strategy": strategy, "entrostat": name, "command": ["entrostat", name]}


def test_the_page_fits_its_screen(show, make_run, steered):
    """Panels stand side by side on a desktop, below each other on a phone; the page never scrolls sideways."""
    long = make_run("c", config={"label": "a-long-label-" * 9}, maps={0: response_map(0)})
    browser = show([*steered, long])
    for details in browser.find_elements(By.TAG_NAME, "summary"):
        details.click()
    starts = "['xaxis', 'xaxis2'].map(a => document.getElementById('clip').layout[a].domain[0])"
    for width, second in ((320, 0), (390, 0), (1200, 0.55)):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wait(browser, f"Math.abs({starts}[1] - {second}) < 0.01")
        wait(browser, f"[...document.querySelectorAll('.main-svg')].every(svg => svg.clientWidth <= {width})")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert all(width * 0.7 < plot.size["width"] <= width for plot in browser.find_elements(By.CLASS_NAME, "plot"))


def test_the_figures_follow_the_colour_scheme_while_open(show, pair):
    browser = show(pair, scheme="dark")
    base = "document.getElementById('passk').data.find(t => t.name === 'base model').line.color"
    colours = f"return [document.getElementById('entropy').layout, {base}]"
    layout, base = browser.execute_script(colours)
    assert (layout["paper_bgcolor"], layout["font"]["color"], base) == ("#14171b", "#e6e9ed", "#e6e9ed")
    media = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    wait(browser, "document.getElementById('passk').layout.paper_bgcolor === '#ffffff'")


def test_a_run_without_rollouts_has_a_page(show, make_run):
    browser = show([make_run("a", done=0)])
    assert "No run has written a rollout yet" in browser.find_element(By.TAG_NAME, "main").text
    assert browser.get_log("browser") == []
