"""The page in a real browser."""

import re
import shutil
import socket
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import uvicorn
from PIL import Image

from mlcmr.sample import make_sample
from mlcmr.search import Searcher
from mlcmr.search.http.app import create_app
from mlcmr.search.http.middleware import Overloaded, Unavailable
from mlcmr.search.http.service import ServerLimits
from tests.helpers.fake_searcher import sample_searcher
from tests.helpers.tiny import write_index

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
expect = playwright.expect

TOKEN = "a-token-for-the-page"
LOOKS = """() => [...document.querySelectorAll('#results li .frame')].map(frame => {
    const box = frame.getBoundingClientRect();
    return [box.x, box.y, box.width, box.height].map(Math.round)})"""


class Site:
    """A server in a thread."""

    def __init__(self, searcher, *, below="", **options):
        self.searcher = searcher
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}{below}/"
        app = proxy(create_app(searcher, limits=ServerLimits(rate=0), **options), below)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.should_exit = True
        self.thread.join(10)


def proxy(app, below):
    """A web server that passes on what is asked for below a path."""

    async def passed(scope, receive, send):
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{below}/"), scope["path"]
            scope = scope | {"path": scope["path"].removeprefix(below)}
        await app(scope, receive, send)

    return passed if below else app


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return Path(make_sample(tmp_path_factory.mktemp("clips"), videos=20).folder)


@pytest.fixture(scope="session")
def site(clips):
    site = Site(sample_searcher(clips))
    yield site
    site.stop()


@pytest.fixture(scope="session")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens pages in a context of their own; at the end none may have met an error in a script."""
    contexts, errors = [], []

    def opened(url, *, width=1280, height=800, language="en-US", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, locale=language, **options
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def until(page, condition):
    """Waits for JavaScript to be true; playwright's own way is one that the page's policy forbids."""
    end = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def ask(page, text):
    page.fill("#q", text)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text(re.compile(r"hit|结果"))


def captions(site, language):
    """A video and a caption of its own that no other has."""
    for name, video in site.searcher.videos.items():
        for text in video.captions[language]:
            first, second = site.searcher.search(text, k=3)[0:3:2]
            if first.video == name and first.score > second.score:
                return name, text
    raise AssertionError


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """Over an index, not over the fake."""
    site = Site(Searcher(write_index(tmp_path_factory.mktemp("real")), device="cpu"))
    yield site
    site.stop()
    site.searcher.close()


@pytest.mark.parametrize(("language", "text"), [("en", "A red circle moves left."), ("zh", "一个红色的圆形")])
def test_over_a_real_index(real, open_page, tmp_path, language, text):
    page = open_page(real.url, language="zh-CN" if language == "zh" else "en-GB")
    expect(page.locator(".examples a").first).to_be_visible()
    ask(page, text)
    found = real.searcher.search(text, k=20)
    names = page.locator("#results .path")
    assert names.all_inner_texts() == [f"{hit.video}.mp4" for hit in found]
    until(page, "[...document.querySelectorAll('.open img')].slice(0, 4).every(one => one.naturalWidth > 0)")
    # It plays.
    page.locator("#results .open").first.click()
    until(page, "document.querySelector('#player video')?.currentTime > 0.1")
    expect(page.locator("#player-caption")).to_have_text(found[0].caption)
    page.keyboard.press("Escape")
    # Similar videos.
    card = page.locator("#results li").first
    card.hover()
    card.locator(".similar").click()
    similar = real.searcher.similar(found[0].video, k=24)
    expect(names).to_have_text([f"{hit.video}.mp4" for hit in similar])
    # By itself, as a film and as a picture.
    for file in (found[3].path, found[3].thumbnail):
        page.set_input_files("#file", file)
        expect(page.locator("#asked-text")).to_contain_text(Path(file).name)
        expect(names).to_have_text([f"{hit.video}.mp4" for hit in real.searcher.search_file(file, k=24)])
    # A file that only begins as a picture.
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    page.set_input_files("#file", tmp_path / "a.png")
    expect(page.locator("#notice h2")).to_have_text(
        "不是图片或视频" if language == "zh" else "Not an image or video"
    )


def first_name(page):
    return page.locator("#results li .path").first.inner_text()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_query_finds_its_video(site, open_page, language):
    page = open_page(site.url, language="zh-CN" if language == "zh" else "en-GB")
    video, text = captions(site, language)
    expect(page.locator("h2").first).to_have_text(
        "描述画面，找到那一刻" if language == "zh" else "Find a moment by describing it"
    )
    ask(page, text)
    assert first_name(page) == f"{video}.mp4"
    assert page.locator("#results li").count() == 24
    assert page.evaluate("document.documentElement.lang") == ("zh-Hans" if language == "zh" else "en")
    card = page.locator("#results li").first
    assert re.fullmatch(r"0:0\d–0:0\d", card.locator(".time").inner_text())
    assert re.fullmatch(r"\d\.\d\d", card.locator(".score").inner_text())
    assert card.locator("img").first.get_attribute("alt") == site.searcher.videos[video].captions[language][0]


def test_the_interface_changes_its_language_and_remembers(site, open_page):
    page = open_page(site.url + "?q=red", language="fr-FR")
    expect(page.locator("#status")).to_contain_text("24 hits")
    page.click("#language")
    expect(page.locator("#status")).to_contain_text("24 个结果")
    page.reload()
    expect(page.locator("#q")).to_have_attribute("placeholder", "描述一个画面")


def test_examples_come_from_the_captions_and_can_be_clicked(site, open_page):
    page = open_page(site.url)
    example = page.locator(".examples a").first
    text = example.inner_text()
    assert any(text in texts for video in site.searcher.videos.values() for texts in video.captions.values())
    example.click()
    expect(page.locator("#q")).to_have_value(text)
    expect(page.locator("#results .open")).to_have_count(24)


def test_a_thumbnail_plays_the_hit_while_the_mouse_is_over_it(site, open_page):
    page = open_page(site.url + "?q=red")
    second = page.locator("#results li", has_text=re.compile("0:01–0:02")).first
    second.hover()
    video = second.locator("video")
    expect(video).to_have_class("plays")
    muted, place = video.evaluate("video => [video.muted, video.currentTime]")
    assert muted
    assert 1.0 <= place <= 2.0
    page.mouse.move(5, 5)
    expect(page.locator("#results video")).to_have_count(0)


@pytest.fixture
def pictures(clips, tmp_path):
    """A server of a clip as a GIF and as an APNG, below a path, and with ids that have slashes."""
    frames = [Image.new("RGB", (96, 96), colour) for colour in ("red", "lime", "blue", "white")]
    searcher = sample_searcher(clips)
    for ending, video in zip(("gif", "apng"), list(searcher.videos), strict=False):
        file = tmp_path / f"moving.{ending}"
        kind = "PNG" if ending == "apng" else "GIF"
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=300, loop=0)
        known = searcher.videos.pop(video)
        hits = tuple(replace(hit, video=f"films/{ending}", path=str(file)) for hit in known.hits)
        searcher.videos[f"films/{ending}"] = replace(known, hits=hits)
    site = Site(searcher, below="/with/films", token=TOKEN)
    yield site
    site.stop()


@pytest.mark.parametrize("ending", ["gif", "apng"])
def test_an_animated_picture_moves_on_hover_and_in_the_player(pictures, open_page, ending):
    video = f"films/{ending}"
    caption = pictures.searcher.videos[video].captions["en"][0]
    page = open_page(f"{pictures.url}?token={TOKEN}&q={quote(caption)}")
    expect(page).to_have_url(f"{pictures.url}?{urlencode({'q': caption})}")
    card = page.locator("#results li", has_text=f"moving.{ending}").first
    card.hover()
    moving = card.locator(f"img[src$='media/{video}']")
    moves(page, moving)
    page.mouse.move(5, 5)
    expect(moving).to_have_count(0)
    card.locator(".open").click()
    moves(page, page.locator("#stage img"))
    expect(page.locator("#stage video")).to_have_count(0)
    expect(page.locator("#player-caption")).to_have_attribute("dir", "auto")
    page.reload()
    moves(page, page.locator("#stage img"))
    page.click("#player-similar")
    expect(page.locator("#asked-text")).to_contain_text(video)
    until(page, "document.querySelector('#preview img').naturalWidth > 0")
    expect(page.locator("#results .open")).to_have_count(24)


def test_a_second_picture_opens_while_it_moves_under_the_mouse(pictures, open_page):
    page = open_page(f"{pictures.url}?token={TOKEN}&q=a&k=96")
    expect(page.locator("#results .open")).to_have_count(40)
    for ending in ("gif", "apng"):
        card = page.locator("#results li", has_text=f"moving.{ending}").first
        card.hover()
        moves(page, card.locator("img[src*=media]"))
        card.locator(".open").click()
        expect(page.locator("#player-path")).to_have_text(re.compile(f"moving.{ending}$"))
        expect(page.locator("#player")).to_be_visible()
        page.keyboard.press("Escape")  # this gives the focus back to the card
        expect(page.locator("#player")).not_to_be_visible()


@pytest.mark.parametrize(("name", "tag"), [("moving.mp4", "img"), ("film.webp", "video")])
def test_a_file_is_played_as_what_it_is_not_as_what_it_is_called(clips, tmp_path, open_page, name, tag):
    searcher = sample_searcher(clips)
    video, known = next(iter(searcher.videos.items()))
    frames = [Image.new("RGB", (96, 96), colour) for colour in ("red", "lime", "blue", "white")]
    if tag == "img":
        frames[0].save(tmp_path / name, "WEBP", save_all=True, append_images=frames[1:], duration=300, loop=0)
    else:
        shutil.copy(known.hits[0].path, tmp_path / name)
    hits = tuple(replace(hit, path=str(tmp_path / name)) for hit in known.hits)
    searcher.videos[video] = replace(known, hits=hits)
    site = Site(searcher)
    try:
        page = open_page(f"{site.url}?video={video}&at=0")
        moves(page, page.locator(f"#stage {tag}"))
    finally:
        site.stop()


def moves(page, picture):
    """Sees to it that a picture does not stay as it is."""
    seen, end = set(), time.monotonic() + 10
    while len(seen) < 3:
        assert time.monotonic() < end
        seen.add(picture.screenshot(animations="disabled"))  # of the style


def test_a_click_plays_from_the_second_of_the_hit(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    card = page.locator("#results li", has_text=re.compile("0:01–0:02")).first
    name = card.locator(".path").inner_text().removesuffix(".mp4")
    card.locator(".open").click()
    video = page.locator("#player video")
    until(page, "document.querySelector('#player video')?.currentTime >= 1")
    assert video.evaluate("video => video.currentTime") < 2.01
    expect(page.locator("#segments button")).to_have_count(2)
    expect(page.locator("#segments [aria-current=true]")).to_have_text("0:01")
    assert f"video={name}&at=1" in page.url
    page.locator("#segments button").first.click()
    until(page, "document.querySelector('#player video').currentTime < 1")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).not_to_be_visible()
    expect(page).to_have_url(site.url + "?q=red")
    page.go_forward()
    expect(page.locator("#player")).to_be_visible()


def test_a_file_that_fails_late_does_not_take_the_place_of_another(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    names = list(dict.fromkeys(page.locator("#results .path").all_inner_texts()))[:2]

    def click(name):
        page.locator("#results li", has_text=name).first.locator(".open").click()
        expect(page.locator("#stage video")).to_be_visible()

    click(names[0])
    page.evaluate("window.first = document.querySelector('#stage video')")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).not_to_be_visible()
    click(names[1])
    page.evaluate("first.dispatchEvent(new Event('error'))")
    expect(page.locator("#stage")).to_have_attribute("data-video", names[1].removesuffix(".mp4"))
    expect(page.locator("#stage video")).to_be_visible()


def test_a_link_to_a_hit_opens_it(site, open_page):
    video = next(iter(site.searcher.videos))
    page = open_page(f"{site.url}?video={video}&at=1")
    until(page, "document.querySelector('#player video')?.currentTime >= 1")
    expect(page.locator("#player-caption")).to_have_text(site.searcher.videos[video].captions["en"][0])
    page.click("#player-close")
    expect(page.locator("#player")).not_to_be_visible()


@pytest.mark.parametrize("query", ["", "q=red&"])
def test_a_link_to_a_video_that_is_gone_says_so(site, open_page, query):
    page = open_page(f"{site.url}?{query}video=nope&at=1")
    expect(page.locator("#notice h2")).to_have_text("No longer in the index")
    page.wait_for_timeout(500)
    expect(page.locator("#notice h2")).to_have_text("No longer in the index")
    expect(page.locator("#player")).not_to_be_visible()
    expect(page.locator("#results .open")).to_have_count(24 if query else 0)
    expect(page).to_have_url(f"{site.url}{'?q=red' if query else ''}")
    page.fill("#q", "blue")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_be_hidden()


def test_keys_of_an_input_method_stay_in_the_box(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    press = """isComposing => document.querySelector('#q').dispatchEvent(
        new KeyboardEvent('keydown', {key: 'ArrowDown', isComposing, bubbles: true}))"""
    page.locator("#q").focus()
    page.evaluate(press, True)
    expect(page.locator("#q")).to_be_focused()
    page.evaluate(press, False)
    expect(page.locator(".open").first).to_be_focused()


def test_similar_videos(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    card = page.locator("#results li").first
    name = card.locator(".path").inner_text()
    card.hover()
    card.locator(".similar").click()
    expect(page.locator("#asked-text")).to_have_text(f"Similar to {name.removesuffix('.mp4')}")
    expect(page.locator("#status")).to_contain_text("hits")
    assert name not in page.locator("#results .path").all_inner_texts()
    page.go_back()
    expect(page.locator("#q")).to_have_value("red")
    expect(page.locator("#asked")).to_be_hidden()
    expect(page.locator("#results li .path").first).to_have_text(name)


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_an_upload_finds_what_looks_like_it(site, open_page, clips, way):
    page = open_page(site.url)
    expect(page.locator(".examples")).to_be_visible()
    picture = next((clips / "thumbnails").glob("*.jpg"))
    if way == "choose":
        with page.expect_file_chooser() as chooser:
            page.click("#upload")
        chooser.value.set_files(picture)
    else:
        page.evaluate(
            """([bytes, way]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], 'picture.jpg', {type: 'image/jpeg'}));
                const options = {bubbles: true, cancelable: true};
                document.body.dispatchEvent(way === 'drop'
                    ? new DragEvent('drop', {...options, dataTransfer: data})
                    : new ClipboardEvent('paste', {...options, clipboardData: data}));
            }""",
            [list(picture.read_bytes()), way],
        )
    expect(page.locator("#results .open")).to_have_count(24)
    assert site.searcher.files[-1] == picture.read_bytes()
    expect(page.locator("#asked-text")).to_contain_text("Similar to ")
    until(page, "document.querySelector('#preview img').naturalWidth > 0")
    page.click("#forget")
    expect(page.locator(".examples")).to_be_visible()


def test_a_server_that_is_gone_and_comes_back(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    page.context.set_offline(True)
    page.fill("#q", "blue")
    page.keyboard.press("Enter")
    expect(page.locator("#notice h2")).to_have_text("The server does not answer")
    expect(page.locator("#results .open")).to_have_count(0)
    page.context.set_offline(False)
    page.click("#notice button")
    expect(page.locator("#results .open")).to_have_count(24)
    expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "error", "title"),
    [
        (503, Overloaded().detail, "The server is busy"),
        (503, Unavailable().detail, "The index does not answer"),
        (500, "no", "That did not work"),
    ],
)
def test_errors_are_shown_in_words(site, open_page, status, error, title):
    page = open_page(site.url)
    page.route("**/api/search*", lambda route: route.fulfill(status=status, json={"error": error}))
    page.fill("#q", "red")
    page.keyboard.press("Enter")
    expect(page.locator("#notice h2")).to_have_text(title)


@pytest.mark.parametrize("captioned", [24, 6, 0])
def test_nothing_moves_while_hits_load(site, open_page, captioned):
    page = open_page(site.url)
    leave_captions(page, captioned)
    expect(page.locator(".examples")).to_be_visible()
    site.searcher.seconds = 0.4
    try:
        page.fill("#q", "red")
        page.keyboard.press("Enter")
        expect(page.locator("#results .waiting")).to_have_count(4)
        before = page.evaluate(LOOKS)
        expect(page.locator("#status")).to_contain_text("24 hits")
    finally:
        site.searcher.seconds = 0
    until(
        page, "[...document.querySelectorAll('.open img:first-child')].slice(0, 4).every(one => one.complete)"
    )
    assert page.evaluate(LOOKS)[:4] == before


def leave_captions(page, count):
    """Takes the captions of the hits after the first `count`."""

    def answer(route):
        response = route.fetch()
        content = response.json()
        for hit in content["hits"][count:]:
            hit["caption"] = ""
        route.fulfill(response=response, json=content)

    page.route("**/api/search*", answer)


@pytest.mark.parametrize("captioned", [24, 6, 0])
def test_without_captions_no_row_is_kept_for_them(site, open_page, captioned):
    page = open_page(site.url)
    leave_captions(page, captioned)
    ask(page, "red")
    below = """one => one.querySelector('.meta').getBoundingClientRect().top
        - one.querySelector('.frame').getBoundingClientRect().bottom"""
    cards = page.locator("#results li")
    spaces = [cards.nth(number).evaluate(below) for number in range(24)]
    assert [space > 40 for space in spaces] == [number < captioned for number in range(24)]
    assert all(space < 15 for space in spaces[captioned:])
    tops = [top for _, top, _, _ in page.evaluate(LOOKS)][::4]
    high = [later - top > 300 for top, later in pairwise(tops)]
    assert high == [4 * row < captioned for row in range(5)]


def test_what_is_typed_while_the_page_opens_stays(site, open_page):
    page = open_page("about:blank")
    held = []
    page.route("**/api/index", lambda route: held.append(route))  # noqa: PLW0108 – playwright asks for one
    page.goto(site.url)
    page.fill("#q", "red")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    until(page, "document.querySelector('#about').textContent.trim()")
    expect(page.locator("#q")).to_have_value("red")
    page.keyboard.press("Enter")
    expect(page.locator("#results .open")).to_have_count(24)
    page.click("h1 a")
    expect(page.locator("#q")).to_have_value("")


def test_more_hits_are_added_below(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    first = page.locator("#results .path").all_inner_texts()
    page.click("#more")
    expect(page.locator("#results .open")).to_have_count(40)
    assert page.locator("#results .path").all_inner_texts()[:24] == first
    expect(page.locator("#more")).to_be_hidden()


def test_the_keyboard_is_enough(site, open_page):
    page = open_page(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    page.locator("#language").focus()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("ArrowDown")
    opens = page.locator(".open")
    expect(opens.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(opens.nth(1)).to_be_focused()
    columns = len(
        page.locator("#results").evaluate("grid => getComputedStyle(grid).gridTemplateColumns").split()
    )
    page.keyboard.press("ArrowDown")
    expect(opens.nth(1 + columns)).to_be_focused()
    assert opens.nth(1 + columns).evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#player")).not_to_be_visible()
    expect(opens.nth(1 + columns)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(opens.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#q")).to_be_focused()


def test_no_width_needs_horizontal_scrolling(site, open_page):
    page = open_page(site.url)
    expect(page.locator(".examples")).to_be_visible()

    def widest(part):
        widths = []
        for width in (320, 360, 768, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 740})
            widths.append(page.evaluate(f"{part}.scrollWidth - {part}.clientWidth"))
        return max(widths)

    assert widest("document.documentElement") == 0
    ask(page, "red")
    assert widest("document.documentElement") == 0
    page.locator(".open").first.click()
    expect(page.locator("#segments button")).to_have_count(2)
    assert widest("document.documentElement") == 0
    assert widest("document.querySelector('#player')") == 0


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(site, open_page, theme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    ).Axe()
    page = open_page(site.url, width=width, color_scheme=theme)
    expect(page.locator(".examples")).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(20, 19, 18)") == (theme == "dark")
    reports = {"empty": axe.run(page)}
    ask(page, "red")
    page.wait_for_timeout(300)
    reports["hits"] = axe.run(page)
    page.locator(".open").first.click()
    expect(page.locator("#segments button")).to_have_count(2)
    reports["player"] = axe.run(page)
    page.keyboard.press("Escape")
    page.route("**/api/search*", lambda route: route.abort())
    page.fill("#q", "blue")
    page.keyboard.press("Enter")
    expect(page.locator("#notice h2")).to_be_visible()
    reports["error"] = axe.run(page)
    for state, report in reports.items():
        assert report.response["violations"] == [], f"{state}: {report.generate_report()}"


def test_the_token_is_entered_once(clips, open_page):
    site = Site(sample_searcher(clips), token=TOKEN)
    try:
        page = open_page(site.url + "?q=red")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#entry-error")).to_have_text("Not the token of this server.")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#results .open")).to_have_count(24)
        page.reload()
        expect(page.locator("#results .open")).to_have_count(24)
        until(page, "document.querySelector('.open img').naturalWidth > 0")
        assert page.evaluate("document.cookie") == ""
    finally:
        site.stop()


def test_nothing_comes_from_elsewhere(site, open_page, chromium):
    context = chromium.new_context()
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url + "?q=red")
    expect(page.locator("#results .open")).to_have_count(24)
    assert all(url.startswith((site.url, "blob:")) for url in asked)
    start = time.monotonic()
    context.close()
    assert time.monotonic() - start < 10
