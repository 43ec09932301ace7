"""The page as text: what it says, and that nothing in a run's files becomes markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat import __version__
from entrostat.report.page import (
    DEEPEST_SETTING,
    MARKER,
    MOST_SETTINGS,
    View,
    inline_script,
    notices,
    page,
    script_json,
    settings,
    summary,
)
from entrostat.report.read import read_runs
from entrostat.report.untrusted import LONGEST_TEXT
from made_up_runs import response_map

HOSTILE = '</script><script>pwned=1</script><img src="http://x.test/" onerror=pwned=1>\u2028\u2029\u202e\ud800\'"&lt;'


class Outline(HTMLParser):
    """Tags with the names of their attributes, the text between them, the scripts, and all addresses."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.scripts, self.links = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        if attrs or tag != "span":  # a bare span stands around each word of a command
            self.tags.append((tag, *(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "srcset", "data", "poster")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.get_starttag_text() is not None and self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))


def rendered(paths, **kwargs):
    return Outline(page(read_runs(paths), **kwargs))


def test_hostile_text_adds_no_element_and_no_attribute(make_run):
    def runs(name):
        strategy = {"name": name, "options": {name: {name: [name]}}}
        config = {
            "label": name, "task": name, "strategy": strategy, "model": name, "entrostat": name, "reward": name,
            "command": ["train", name], name: name,
        }  # fmt: skip
        tag = "x" if name == "plain" else "y"
        return [make_run(f"{tag}0", config=config), make_run(f"{tag}1", config=config, done=3)]

    plain, hostile = rendered(runs("plain"), title="plain"), rendered(runs(HOSTILE), title=HOSTILE)
    assert hostile.tags == plain.tags
    assert "</script><script>pwned=1</script><img src=" in hostile.text
    assert json.loads(hostile.scripts[0])["figures"][0]["key"] == "entropy"


def test_hostile_folder_names_are_text(make_run):
    path = make_run("<img src=x onerror=alert(1)>", config={"label": None, "strategy": None, "seed": None})
    assert rendered([path]).tags == rendered([make_run("plain", config={"label": None, "strategy": None})]).tags


@given(st.text(st.characters()) | st.dictionaries(st.text(), st.text()))
def test_embedded_json_is_the_value_and_ends_no_script(value):
    embedded = script_json(value)
    assert json.loads(embedded) == value
    assert not re.search("[<>&\u2028\u2029]", embedded)


@pytest.mark.parametrize("source", ["a('</script>')", "a('</SCRIPT >')", "'<!-- <script>'"])
def test_an_inline_script_holds_no_end_and_no_comment(source):
    safe = inline_script(source)
    assert not re.search("</script|<!--", safe, flags=re.IGNORECASE)
    assert safe.replace("<\\", "<") == source


def test_the_page_refers_to_nothing_outside_itself(make_run):
    html = page(read_runs([make_run("a")]))
    outline = Outline(html)
    assert outline.links == ["data:,", "#results"]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert [tag for tag in outline.tags if tag[0] in ("iframe", "object", "embed", "base", "form")] == []


def test_the_policy_allows_the_two_scripts_and_nothing_else(make_run):
    html = page(read_runs([make_run("a")]))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    data, *scripts = Outline(html).scripts
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2 and json.loads(data)
    assert policy.split("; ") == [
        "default-src 'none'", "script-src " + " ".join(f"'sha256-{digest}'" for digest in hashes),
        "style-src 'unsafe-inline'", "img-src data: blob:", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_plotly_is_embedded_once(make_run):
    from plotly.offline import get_plotlyjs

    html = page(read_runs([make_run("a"), make_run("b", "id")]))
    assert html.count(inline_script(get_plotlyjs())) == 1
    assert len(html) < len(get_plotlyjs()) + 200_000


def test_headings_and_sections_stand_in_order(make_run):
    outline = rendered([make_run("a")])
    assert [tag[0] for tag in outline.tags if re.fullmatch("h[1-6]", tag[0])] == [
        "h1", "h2", "h2", *["h3"] * 6, "h2", "h3",
    ]  # fmt: skip
    html = page(read_runs([make_run("b")]))
    places = [html.index(f">{name}</h") for name in ("Results", "Curves", "Entropy", "Reward", "Clip shares")]
    places += [
        html.index(f">{name}</h") for name in ("Where the entropy goes", "pass@k", "pass@32 against mean@32", "Runs")
    ]
    assert places == sorted(places)
    assert html.index(MARKER) < 200


def test_figures_tell_what_they_show(make_run):
    html = page(read_runs([make_run("a")]))
    labels = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert len(labels) == 6 and all("grpo, seed 0" in label for label in labels)


def test_the_summary_states_what_all_runs_share(make_run):
    one = read_runs([make_run("a", "grpo")])
    assert summary(one) == (
        "1 run of grpo on countdown: seed 0, 100 rollouts, 32 prompts per rollout, 16 samples per prompt, "
        "8 updates per rollout, learning rate 0.0001, reward true."
    )
    both = read_runs([make_run("b", "grpo"), make_run("c", "id", seed=1, steps=50)])
    assert summary(both).startswith("2 runs of grpo and id on countdown: seeds 0 and 1, 32 prompts per rollout,")
    assert notices(both) == ["The runs differ in more than their strategy: steps."]


def test_notices_name_what_is_unfinished_or_unread(make_run):
    broken = make_run("b", "id", done=7)
    (broken / "config.json").write_text("{")
    assert notices(read_runs([make_run("a", done=57), broken])) == [
        "grpo, seed 0 is unfinished: 57 of 100 rollouts, no final scores.",
        "grpo, seed 0: 1 line of metrics.jsonl cut or unreadable, skipped.",
        "b is unfinished: 7 rollouts, no final scores.",
        "b: 1 line of metrics.jsonl cut or unreadable, skipped.",
        "b: config.json is not valid JSON.",
    ]
    assert notices(read_runs([make_run("c")])) == []


def test_every_setting_and_the_command_are_shown(make_run):
    config = {"nested": {"deep": {"deeper": [1, None]}}, "empty": {}, "command": ["entrostat", "train", "a b"]}
    outline = rendered([make_run("a", low=0.25, config=config), make_run("b", "id")])
    for part in ("strategy.options.low0.25", "nested.deep.deeper[1, null]", "empty{}", "learning_rate0.0001"):
        assert part in outline.text.replace("\n", "").replace(" 0", "0"), part
    assert "entrostat train 'a b'" in outline.text
    assert outline.text.count("Rebuilt from config.json") == 1


def test_settings_are_bounded(make_run):
    nested = value = {}
    for _ in range(400):
        value["x"] = value = {}
    ((name, cut),) = settings(nested)
    assert name == ".".join(["x"] * (DEEPEST_SETTING + 1)) and len(cut) <= LONGEST_TEXT + 1
    many = {f"key{i}": "v" * 1000 for i in range(2000)}
    plain, large = page(read_runs([make_run("a")])), page(read_runs([make_run("b", config=many)]))
    assert "key200" in large and len(large) - len(plain) < MOST_SETTINGS * (LONGEST_TEXT + 200)


def test_the_best_score_is_strong(make_run):
    runs = [make_run("a", "grpo", most=0.6), make_run("b", "id", most=0.9)]
    assert re.findall("<strong>([^<]*)</strong>", page(read_runs(runs))) == ["0.900"]


def test_the_title_and_the_versions(make_run):
    runs = read_runs([make_run("a", config={"entrostat": "0.0.7"})])
    assert "<title>entrostat: grpo on countdown</title>" in page(runs)
    assert "<title>My &lt;title&gt;</title>" in page(runs, title="My <title>")
    assert f"Report by entrostat {__version__}, with plotly.js" in page(runs)
    assert "Runs by entrostat 0.0.7." in page(runs)


def test_the_commands_stand_at_the_top(make_run):
    made = ["entrostat", "train", "--steps", "9", "grpo"]
    runs = [make_run("a", config={"command": made}), make_run("b", seed=1)]
    html = page(read_runs(runs), command="entrostat report a b")
    top = Outline(html[: html.index("</header>")]).text
    assert "this pageentrostat report a b" in top
    assert "grpo, seed 0entrostat train --steps 9 grpo" in top
    assert "seed 1entrostat" not in top  # its folder records none
    many = [make_run(f"m{seed}", seed=seed, config={"command": made}) for seed in range(4)]
    html = page(read_runs(many), command="entrostat report m*")
    assert html[: html.index("</header>")].count("<dt>") == 1


def test_a_shared_script_is_all_that_the_policy_adds(make_run):
    runs = read_runs([make_run("a")])
    html = page(runs, plotly_file="plotly.js")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    (nonce,) = re.findall(r"'nonce-([^']+)'", policy)
    assert re.findall(r'<script nonce="([^"]*)" src="([^"]*)">', html) == [(nonce, "plotly.js")]
    assert Outline(html).links == ["data:,", "#results", "plotly.js"]
    assert len(html) < 200_000
    # another log, another nonce: nobody can write one that holds it
    other = page(read_runs([make_run("b", "id")]), plotly_file="plotly.js")
    assert f"'nonce-{nonce}'" not in other.replace("&#39;", "'")


def test_the_view_is_what_the_page_opens_with(make_run):
    html = page(read_runs([make_run("a")]), view=View(smooth=7, x="steps"))
    assert 'id="smooth" min="1" step="1" value="7"' in html
    assert '<option value="steps" selected>rollout</option>' in html
    assert '<option value="tokens" disabled>tokens seen (in no log)</option>' in html


def test_a_figure_of_several_states_has_its_choices(make_run):
    outline = rendered([make_run("a", maps={step: response_map(step) for step in (0, 4, 8)})])
    (figure,) = (figure for figure in json.loads(outline.scripts[0])["figures"] if figure["choices"])
    assert (figure["key"], len(figure["choices"]), figure["data"]) == ("response", 3, [])
    assert "Shown: rollout 0rollout 4rollout 8" in outline.text
    one = rendered([make_run("b", maps={0: response_map(0)})])
    assert ("select", "data-figure") not in one.tags


def test_maps_from_hostile_files_add_no_element(make_run):
    bad = {0: response_map(0) | {HOSTILE: HOSTILE, "tokens": HOSTILE}}
    config = {"label": HOSTILE}
    hostile, plain = make_run("a", maps=bad, config=config), make_run("b", maps={0: response_map(0)})
    tags = [[tag for tag in rendered([path]).tags if tag[0] != "bdi"] for path in (hostile, plain)]
    assert tags[0] == tags[1]


def test_the_same_runs_give_the_same_page(make_run):
    runs = [make_run("a"), make_run("b", "id")]
    assert page(read_runs(runs)) == page(read_runs(runs))


def test_a_run_without_rollouts_has_a_page(make_run):
    outline = rendered([make_run("a", done=0)])
    assert "No run has written a rollout yet." in outline.text
    assert not any(tag[0] in ("figure", "fieldset", "input") for tag in outline.tags)
