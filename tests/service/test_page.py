"""The page in a real Chromium: upload, result, slider, error, busy service, keyboard, phone."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_server import serving

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving("--requests-per-minute", "0", "--decoders", "1") as (found, _):
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, address) -> Iterator[Any]:
    """The page, ready; every request that leaves the service and every script error is counted."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    made = context.new_page()
    made.strangers, made.failures = [], []
    made.on("request", lambda r: made.strangers.append(r.url)
            if not r.url.startswith((address, "data:", "blob:")) else None)  # fmt: skip
    made.on("pageerror", lambda error: made.failures.append(str(error)))
    made.goto(address)
    made.wait_for_selector("body[data-ready]")
    yield made
    assert made.strangers == []
    assert made.failures == []
    context.close()


def upload(page: Any, png: Any, name: str = "a.png", **options: Any) -> None:
    page.set_input_files(
        "#files", {"name": name, "mimeType": "image/png", "buffer": png(**options)}
    )


def test_an_upload_is_answered_with_bars_sets_and_maps(page, png):
    assert "not a medical device" in page.inner_text("header")
    upload(page, png)
    page.wait_for_selector("#gate-figure:not([hidden])")
    assert page.inner_text("#headline") in {"benign", "malignant", "normal", "Not answered"}
    assert page.locator("#bars > div").count() == 3
    assert "set" in page.inner_text("#sentence")
    for picture in ("#image", "#heat", "#gate"):
        assert page.eval_on_selector(picture, "e => e.naturalWidth") > 0
    sizes = [
        page.eval_on_selector(p, "e => [e.clientWidth, e.clientHeight]")
        for p in ("#image", "#heat")
    ]
    assert sizes[0] == sizes[1]


def test_the_slider_and_the_choice_of_map(page, png):
    upload(page, png)
    page.wait_for_selector("#heat:not([hidden])")
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.eval_on_selector("#heat", "e => getComputedStyle(e).opacity") == "0"
    page.keyboard.press("End")
    assert page.eval_on_selector("#heat", "e => getComputedStyle(e).opacity") == "1"
    assert page.inner_text("#opacity-value") == "100 %"
    before = page.get_attribute("#heat", "src")
    page.select_option("#method", "layer-cam")
    page.wait_for_function(
        "old => { const e = document.getElementById('heat'); return !e.hidden && e.src !== old }",
        arg=before,
    )
    assert page.inner_text("#map-title").startswith("layer-cam")


def test_a_broken_file_is_said_and_the_rest_goes_into_the_table(page, png, tmp_path):
    good = {"mimeType": "image/png", "buffer": png()}
    page.set_input_files("#files", [
        {"name": "one.png", **good}, {"name": "=two.png", **good},
        {"name": "junk.png", "mimeType": "image/png", "buffer": b"no image"},
    ])  # fmt: skip
    page.wait_for_selector("#error:not([hidden])")
    assert "known format" in page.inner_text("#error")
    page.wait_for_function("() => !document.getElementById('rows').innerText.includes('waiting')")
    assert page.locator("#rows tr").count() == 3
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "p.csv")
    with Path(tmp_path / "p.csv").open(newline="") as handle:
        rows = {row["name"]: row for row in csv.DictReader(handle)}
    assert set(rows) == {"one.png", "'=two.png", "junk.png"}
    assert "known format" in rows["junk.png"]["error"]
    shares = [float(rows["one.png"][f"p_{name}"]) for name in ("benign", "malignant", "normal")]
    assert sum(shares) == pytest.approx(1)


def test_a_busy_service_is_said_and_asked_again(page, png):
    asked = []

    def busy_twice(route: Any) -> None:
        asked.append(1)
        if len(asked) <= 2:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "busy"})
        else:
            route.continue_()

    page.route("**/predict*", busy_twice)
    upload(page, png)
    page.wait_for_function("() => document.getElementById('status').innerText.includes('busy')")
    page.wait_for_selector("#result:not([hidden])")
    assert len(asked) == 3


def test_a_service_that_stays_busy_is_an_error(page, png):
    busy = {"status": 503, "headers": {"Retry-After": "1"}}
    page.route("**/predict*", lambda r: r.fulfill(**busy, json={"detail": "The service is busy."}))
    upload(page, png)
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "The service is busy."


def test_tabs_by_keyboard(page):
    page.focus("#tab-classify")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#about")
    assert "Limits" in page.inner_text("#card")
    page.keyboard.press("Home")
    assert page.is_visible("#classify")
    assert not page.is_visible("#about")


def test_the_card_claims_of_its_numbers_what_the_bundle_says(page):
    card = page.text_content("#card")
    assert "on unseen test images" in card
    assert "% interval" not in card  # a bundle from before levels were recorded

    def edit(route):
        answer = route.fetch()
        body = answer.json()
        body["description"] |= {"leaky": True, "confidence": 0.9}
        route.fulfill(response=answer, json=body)

    page.route("**/model", edit)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    card = page.text_content("#card")
    assert "unseen" not in card
    assert "90 % interval" in card


def test_nothing_is_cut_off_on_a_phone(page, png):
    page.set_viewport_size({"width": 360, "height": 740})
    upload(page, png, name="a name that is much longer than a phone is wide " * 3)
    page.wait_for_selector("#gate-figure:not([hidden])")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_a_token_is_asked_for(chromium, png, tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery-staple")
    with serving("--decoders", "1", "--token-file", str(tmp_path / "token")) as (address, _):
        made = chromium.new_page()
        made.set_default_timeout(PATIENCE_MS)
        made.goto(address)
        for word, selector in (("wrong", "#error:not([hidden])"), ("correct", "body[data-ready]")):
            made.wait_for_selector("#token-form:not([hidden])")
            made.fill("#token", "correct-horse-battery-staple" if word == "correct" else word)
            made.keyboard.press("Enter")
            made.wait_for_selector(selector)
        upload(made, png)
        made.wait_for_selector("#result:not([hidden])")
        made.close()
