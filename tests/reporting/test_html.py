import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from made_up_run import make_run
from test_sections import change

from sonobalance.errors import InputError
from sonobalance.reporting.artefacts import RunFiles
from sonobalance.reporting.html import build_report, render
from sonobalance.reporting.style import stylesheet

VOID = {"meta", "link", "img", "br", "hr", "input", "col"}
FILES = (
    "run.json", "manifest.csv", "audit.json", "groups.csv", "marks.csv", "splits.csv",
    "gan/stats.jsonl", "gan/gan.json", "synthesis/synthesis.json", "synthesis/rounds.csv",
    "synthesis/selection.csv", "synthesis/manifest.csv", "classifier/arms.json",
    "predictions.csv", "evaluation.json", "explanation.json",
)  # fmt: skip


class Page(HTMLParser):
    """A parsed page; raises when an element is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def values(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


@pytest.fixture(scope="module")
def source(whole_run):
    return render(RunFiles(whole_run))


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_every_element_is_closed_in_order_and_no_identifier_is_used_twice(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_outside_and_no_script_can_run(source, page):
    assert "http://" not in source
    assert "https://" not in source
    assert not re.search(r"url\((?!#)", source)
    assert "@import" not in source
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form"}
    for tag, attrs in page.elements:
        for name in ("src", "srcset", "poster", "data"):
            assert attrs.get(name, "data:").startswith("data:"), tag
        assert not [name for name in attrs if name.startswith("on")]
    policy = [a["content"] for _, a in page.elements if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_lead_to_places_on_the_page_or_to_files_of_the_run(whole_run, page):
    ids = set(page.values("id"))
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert len(links) > 20
    for link in links:
        target = link[1:] in ids if link.startswith("#") else (whole_run / link).exists()
        assert target or link in {"audit.html"}, link


def test_images_have_words_and_tables_have_captions(page):
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) > 30
    assert all(attrs["alt"] and attrs["width"] and attrs["height"] for attrs in images)
    drawings = [attrs for tag, attrs in page.elements if tag == "svg"]
    assert len(drawings) > 8
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption")


def test_headings_never_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_research_notice_stands_at_the_top_and_at_the_bottom(page):
    notice = "It is not a medical device"
    assert page.text.count(notice) == 2
    assert page.text.index(notice) < page.text.index("In short")
    assert page.text.rindex(notice) > page.text.index("Glossary")


def test_numbers_of_the_files_stand_on_the_page(page):
    for shown in (
        "156 real TEST images from 120 independent groups", "0.780", "0.730 to 0.830",
        "Only 18 independent groups of normal in TEST", "normal/empty.png", "it has no bytes",
        "60 candidates were made and 20 accepted (33 %)", "1 March 2026, 10:00 UTC",
    ):  # fmt: skip
        assert shown in page.text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("no clear difference", "Not that these data can tell"),
        ("better", "Yes: with synthetic images the classifier does better"),
        ("worse", "No: with synthetic images the classifier does worse"),
    ],
)
def test_the_page_says_plainly_whether_synthesis_helped(own_run, found, words):
    def edit(document):
        for row in document["paired"]:
            row.update(verdict=found)

    assert words in Page(render(change(own_run, "evaluation.json", edit))).text


def test_names_are_escaped(own_run):
    attack = '"><script>alert(1)</script>'

    def edit(document):
        document["warnings"] = [attack]
        document["cases"] = []
        document["arms"] = {attack: document["arms"]["none"]}
        document["classes"] = [attack, "malignant", "normal"]

    text = render(change(own_run, "evaluation.json", edit))
    assert "speckle &lt;set&gt; &amp; more" in text
    assert "<script" not in text
    Page(text)


@pytest.mark.usefixtures("undrawn")
def test_a_leaky_split_is_told_by_a_banner_over_the_whole_page(own_run, page):
    run = change(own_run, "run.json", lambda doc: doc["settings"]["split"].update(leaky=True))
    leaky = Page(render(run))
    assert "alert" in leaky.values("role")
    assert "Leaky split" in leaky.text
    assert "none of which any network saw before" not in leaky.text
    assert "alert" not in page.values("role")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", FILES)
def test_any_file_may_be_missing_and_the_page_says_so(own_run, name):
    (own_run / name).unlink()
    assert f"{name} (missing)" in Page(render(RunFiles(own_run))).text


def test_an_empty_folder_still_gives_a_page(tmp_path):
    shown = Page(build_report(tmp_path).read_text(encoding="utf-8"))
    for words in (
        "Nothing has been evaluated.", "The data have not been looked at.",
        "Nothing has been synthesised.", "No decision has been explained.",
        "Settings, versions and timings are not known.",
    ):  # fmt: skip
        assert words in shown.text


@pytest.mark.usefixtures("undrawn")
def test_images_that_moved_away_leave_their_place(own_run):
    run = change(own_run, "run.json", lambda doc: doc.update(source="/nowhere/at/all"))
    shown = Page(render(run))
    assert shown.text.count("image file not available") > 10


def test_a_broken_file_is_named(own_run):
    (own_run / "evaluation.json").write_text("{")
    with pytest.raises(InputError, match=r"evaluation\.json"):
        build_report(own_run)
    assert not (own_run / "report.html").exists()


def test_equal_files_give_equal_bytes(tmp_path, source):
    again = make_run(tmp_path)
    assert render(RunFiles(again)) == source
    assert build_report(again).read_text(encoding="utf-8") == source


def test_the_style_sheet_knows_light_dark_and_paper():
    style = stylesheet()
    for words in ("prefers-color-scheme: dark", "@media print", "prefers-reduced-motion"):
        assert words in style
    defined = set(re.findall(r"(--[a-z0-9-]+):", style)) | {"--share", "--scale"}
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", style)) <= defined


def test_it_opens_in_a_browser_without_a_complaint(whole_run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium on this machine")
    copy = tmp_path / "report.html"
    copy.write_text(render(RunFiles(whole_run)), encoding="utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Research use only" in done.stdout
    assert "CONSOLE" not in done.stderr


def rivalled(run, against, **found):
    """The page of a run whose synthesis arm is compared with this arm, with this result."""

    def edit(document):
        document["arms"] = {against: document["arms"]["none"], **document["arms"]}
        for row in document["paired"]:
            row.update(against=against, **found)

    return Page(render(change(run, "evaluation.json", edit))).text


def test_only_over_sampling_is_called_the_same_classifier(own_run):
    text = rivalled(own_run, "none", verdict="better")
    assert "does better than a classifier trained on real images alone" in text
    assert "the difference includes that" in text
    text = rivalled(own_run, "over-sampling", verdict="better")
    assert "does better than the same classifier trained on real images alone" in text
    assert "the difference includes that" not in text


def test_no_interval_is_not_said_to_include_zero(own_run):
    text = rivalled(own_run, "over-sampling", low=None)
    assert "too few independent groups for an interval of the change" in text
    assert "interval of the change includes zero" not in text


def test_the_calibration_table_shows_both_errors_and_the_temperature(page):
    assert "ECE without Temperature ECE with none 0.110" in page.text
    assert "1.31" in page.text
