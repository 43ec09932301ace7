"""The page as a reader meets it: in a real browser, opened from disk, with real clicks and keys."""

import math
from collections import Counter

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from entrostat import dump
from entrostat.cli import main
from made_up_dumps import VOCABULARY, made_up

pytestmark = pytest.mark.browser

HOSTILE = (
    "</script><img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "\u2028\u2029<!--<script>window.pwned=1",
    "\u202ereversed\x00\x1b[31m",
    "&lt;b&gt;\\n",
    "a\n",
)
SHOWN = (
    HOSTILE[0],
    HOSTILE[1],
    r"\u2028\u2029<!--<script>window.pwned=1",
    r"\u202ereversed\x00\x1b[31m",
    r"&lt;b&gt;\\n",
    r"a\n",
)


def wait(browser: Chrome, script: str):
    return WebDriverWait(browser, 300).until(lambda driver: driver.execute_script(f"return {script}"))


@pytest.fixture
def show(browser, tmp_path):
    """Writes a dump of these columns and opens its page."""

    def show(columns, *options, notes=None):
        size = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get_log("browser")
        dump.write(tmp_path / "a.parquet", **columns, overwrite=True)
        assert main(["diagnose", str(tmp_path / "a.parquet"), "--html", str(tmp_path / "a.html"), *options]) == 0
        browser.get((tmp_path / "a.html").as_uri())
        wait(browser, "document.documentElement.dataset.drawn")
        return browser

    return show


@pytest.fixture
def ordinary():
    return made_up(11, prompts=3, samples=4, longest=9)


def open_all(browser):
    for name in ("prompt", "response"):
        for details in browser.find_elements(By.CSS_SELECTOR, f"details.{name}"):
            if details.get_attribute("open") is None:
                summary = details.find_element(By.TAG_NAME, "summary")
                browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", summary)
                summary.click()


def spans(browser, *classes):
    selector = ".t" + "".join(f".{name}" for name in classes)
    return browser.find_elements(By.CSS_SELECTOR, selector)


def facts(browser):
    """What the panel of numbers says."""
    pairs = "[...document.querySelectorAll('#numbers dl > div')].map(d => [...d.children].map(e => e.textContent))"
    return dict(browser.execute_script(f"return {pairs}"))


def hover(browser, span):
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", span)
    ActionChains(browser).move_to_element(span).perform()
    return facts(browser)


def test_every_token_is_shown_and_marked_by_side(show, ordinary):
    columns, tokens = ordinary
    browser = show(columns)
    open_all(browser)
    assert len(spans(browser)) == sum(map(len, columns["tokens"]))
    assert len(spans(browser, "u")) == sum(not trained for mask in columns["mask"] for trained in mask)
    events = Counter(token["event"] for token in tokens)
    assert events["low"] and events["high"]
    assert (len(spans(browser, "lo")), len(spans(browser, "hi"))) == (events["low"], events["high"])
    texts = [span.text.rstrip("▼▲") for span in spans(browser)]
    assert Counter(texts) == Counter(text for row in columns["text"] for text in row)
    assert len(browser.find_elements(By.CSS_SELECTOR, "details.prompt")) == 3
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_pointer_shows_the_numbers_of_a_token(show, ordinary):
    """Each number against the column, within the three digits that are shown."""
    columns, tokens = ordinary
    browser = show(columns)
    lists = browser.find_elements(By.CSS_SELECTOR, ".tokens")
    first = browser.find_element(By.CSS_SELECTOR, "details.response summary").text
    sample = int(first.removeprefix("response ").split(",")[0])
    row = columns["sample"].index(sample)
    by_position = {token["position"]: token for token in tokens if token["sample"] == sample}
    for position, span in enumerate(lists[0].find_elements(By.CSS_SELECTOR, ".t")):
        shown = hover(browser, span)
        assert (shown["position"], shown["id"]) == (str(position + 1), str(columns["tokens"][row][position]))
        if position not in by_position:
            assert shown["event"] == "not trained on" and "entropy" not in shown
            continue
        token = by_position[position]
        event = {None: "kept", "low": "clip-low", "high": "clip-high"}[token["event"]]
        assert shown["event"] == event and shown["region"] == ("none", "E1", "E2", "E3", "E4")[token["region"]]
        change = shown["entropy change" if event == "kept" else "change held back"]
        assert float(change) == pytest.approx(token["change"], rel=6e-3, abs=1e-6)
        assert float(shown["ratio"]) == pytest.approx(math.exp(token["logratio"]), rel=6e-3)
        assert float(shown["advantage"]) == token["advantage"]
        for name, column in (("entropy", "entropy"), ("ln p", "logprobs")):
            assert float(shown[name]) == pytest.approx(columns[column][row][position], rel=6e-3)


def test_filters_dim_what_does_not_match_and_count_what_does(show, ordinary):
    columns, tokens = ordinary
    browser = show(columns)
    open_all(browser)
    everything = sum(map(len, columns["tokens"]))
    for box in browser.find_elements(By.CSS_SELECTOR, "[name=event]")[:1]:
        box.click()
    kept = sum(token["event"] is None for token in tokens)
    wait(browser, f"document.querySelectorAll('.t.off').length === {kept}")
    assert f"{everything - kept} of {everything} tokens match" in browser.find_element(By.ID, "count").text
    browser.find_element(By.CSS_SELECTOR, "[name=region][value='3']").click()
    left = sum(token["event"] is not None and token["region"] != 3 for token in tokens)
    untrained = everything - len(tokens)
    wait(browser, f"document.querySelectorAll('.t.off').length === {everything - untrained - left}")


def shade(span):
    return next(name for name in span.get_attribute("class").split() if name[0] in "sdnp" and name[1:].isdigit())


def test_the_switch_changes_what_shades_mean(show, ordinary):
    """Entropy: darker for more. Change: blue (n) lowers and orange (p) raises. Ratio: blue under 1, orange over it."""
    columns, _ = ordinary
    browser = show(columns)
    trained = [span for span in spans(browser) if " u" not in span.get_attribute("class")]
    by_entropy = sorted((float(hover(browser, span)["entropy"]), int(shade(span)[1:])) for span in trained)
    levels = [level for _, level in by_entropy]
    assert levels == sorted(levels) and len(set(levels)) > 2
    for key, name, zero in (("change", "entropy change", 0.0), ("ratio", "ratio", 1.0)):
        browser.find_element(By.CSS_SELECTOR, f"[name=shade][value={key}]").click()
        for span in trained:
            shown = hover(browser, span)
            value = float(shown.get(name, shown.get("change held back", "nan"))) - zero
            found = shade(span)
            assert found == "d0" or (found[0] == "n") == (value < 0), (key, found, value)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#legend span")) == 9


def test_tokens_from_the_keyboard(show, ordinary):
    """One stop of the Tab key a response; arrows go on from there, up and down to clipped tokens."""
    columns, _ = ordinary
    browser = show(columns)
    browser.find_element(By.CSS_SELECTOR, "[name=event][value='3']").click()
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if "t" in (browser.switch_to.active_element.get_attribute("class") or "").split():
            break
    else:
        pytest.fail("no token can be reached with the Tab key")
    number = len(browser.find_elements(By.CSS_SELECTOR, ".tokens")[0].find_elements(By.CSS_SELECTOR, ".t"))
    keys = [Keys.ARROW_RIGHT] * (number + 1)
    seen = [facts(browser)["position"]]
    for key in keys:
        ActionChains(browser).send_keys(key).perform()
        seen.append(facts(browser)["position"])
    assert seen == [*map(str, range(1, number + 1)), str(number), str(number)]
    ActionChains(browser).send_keys(Keys.HOME).perform()
    active = browser.switch_to.active_element
    label = active.get_attribute("aria-label")
    assert "position 1" in label and active.get_attribute("role") == "option"
    stops = "[...document.querySelectorAll('.tokens')].map(list => list.querySelectorAll('[tabindex=\"0\"]').length)"
    assert set(browser.execute_script(f"return {stops}")) == {1}
    for details in browser.find_elements(By.CSS_SELECTOR, ".tokens"):
        marked = details.find_elements(By.CSS_SELECTOR, ".t.lo, .t.hi")
        if marked and " lo" not in (first := details.find_element(By.CSS_SELECTOR, ".t")).get_attribute("class"):
            first.click()
            ActionChains(browser).send_keys(Keys.ARROW_DOWN).perform()
            assert browser.switch_to.active_element == marked[0] or first == marked[0]
            break


def test_hostile_text_is_shown_and_runs_nothing(show):
    columns, _ = made_up(4)
    assert len(HOSTILE) == VOCABULARY
    columns["text"] = [[HOSTILE[i] for i in row] for row in columns["tokens"]]
    columns["prompt"] = [HOSTILE[i] for i in columns["group"]]
    browser = show(columns)
    open_all(browser)
    texts = {span.text.rstrip("▼▲") for span in spans(browser)}
    assert texts <= set(SHOWN) and len(texts) == len({i for row in columns["tokens"] for i in row})
    prompts = [pre.text for pre in browser.find_elements(By.CSS_SELECTOR, ".prompt > pre")]
    assert set(prompts) == {SHOWN[i] for i in set(columns["group"])}
    assert browser.execute_script("return window.pwned === undefined")
    assert (
        browser.execute_script("return document.querySelectorAll('img, main b, svg:not(.scatter), script').length") == 2
    )
    assert browser.get_log("browser") == []


def test_a_page_is_replaced_and_nothing_else(tmp_path, ordinary, capsys):
    columns, _ = ordinary
    dump.write(tmp_path / "a.parquet", **columns)
    args = ["diagnose", str(tmp_path / "a.parquet"), "--html", str(tmp_path / "a.html")]
    assert main(args) == main(args) == 0
    (tmp_path / "a.html").write_text("my own")
    assert main(args) == 2 and "is no page of entrostat diagnose" in capsys.readouterr().err
    assert (tmp_path / "a.html").read_text() == "my own"


def test_the_page_fits_its_screen(show, ordinary):
    columns, _ = ordinary
    columns["prompt"] = ["x" * 500] * len(columns["group"])
    browser = show(columns)
    open_all(browser)
    for details in browser.find_elements(By.CSS_SELECTOR, "main > section > details:not([open]) > summary"):
        details.click()
    for width in (320, 1200):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wait(browser, f"window.innerWidth === {width}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
