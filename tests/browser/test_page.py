"""The page in a real browser: streaming, stopping, and nothing of the model's ever run."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from midfill.config.server import ServerConfig
from midfill.engine.results import Piece, TokenLogprob
from midfill.server import create_app
from midfill.server.run import listen

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

MARKUP = """Use **one** loop, <b>not two</b>: <img src=x onerror=alert(1)>

```python
def add(a, b):  # <script>alert(2)</script>
    return a + b
```

- `left` and [a link](https://example.org/) and [a trap](javascript:alert(3))
"""

TOKEN = TokenLogprob(1, "abc", b"abc")


class Script:
    """The model, but what it says is written here, at the pace of a real one."""

    def __init__(self, coder: Any, *, can_chat: bool = True) -> None:
        self._coder = coder
        self._can_chat = can_chat
        self.says = MARKUP
        self.pause = 0.002
        self.running = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coder, name)

    @property
    def tokenizer(self) -> Any:
        return self._coder.tokenizer if self._can_chat else Mute(self._coder.tokenizer)

    def generate(self, prompt: Any, sampling: Any) -> Iterator[Piece]:
        self.running += 1
        try:
            for at in range(0, len(self.says), 3):
                time.sleep(self.pause)
                yield Piece(self.says[at : at + 3], tokens=(TOKEN,))
            yield Piece("", finish_reason="stop")
        finally:
            self.running -= 1


class Mute:
    """A tokenizer without a chat template."""

    chat_template = None

    def __init__(self, tokenizer: Any) -> None:
        self.fim = tokenizer.fim


class Site:
    """A server in a thread, and what it serves."""

    def __init__(self, coder: Any, **options: Any) -> None:
        self.coder = coder
        config = ServerConfig(port=0, **options)
        self._socket = listen(config)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(coder, config), log_level="error", timeout_graceful_shutdown=1
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def site(tiny_coder: Any) -> Iterator[Site]:
    with Site(Script(tiny_coder)) as made:
        yield made


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Any, site: Site, complaints: list[str]) -> Iterator[Any]:
    """A fresh page, ready to chat; it must end without a complaint and without foreign requests."""
    site.coder.says, site.coder.pause = MARKUP, 0.002
    context = browser.new_context()
    made = context.new_page()
    listen_for_complaints(made, complaints)
    hosts: set[str] = set()
    made.on("request", lambda request: hosts.add(request.url[: len(site.url)]))
    made.goto(site.url)
    expect(made.get_by_label("Message")).to_be_focused()
    yield made
    context.close()
    assert complaints == []
    assert {host for host in hosts if not host.startswith("data:")} == {site.url}


def listen_for_complaints(page: Any, complaints: list[str]) -> None:
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and complaints.append(message.text),
    )


def ask(page: Any, text: str = "Add two numbers.") -> None:
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")


def answer(page: Any) -> Any:
    return page.get_by_role("article", name="Model").last.locator(".text")


def test_an_answer_streams_and_is_measured(page: Any, site: Site):
    site.coder.says, site.coder.pause = "one two three " * 20, 0.01
    ask(page)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer(page)).to_contain_text("one two")
    early = len(answer(page).inner_text())
    expect(page.locator(".rate")).to_contain_text("tokens/s")
    assert early < len(answer(page).inner_text())
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert answer(page).inner_text().strip() == ("one two three " * 20).strip()


@pytest.mark.parametrize("by_key", [True, False])
def test_stopping_reaches_the_engine(page: Any, site: Site, by_key: bool):
    site.coder.says, site.coder.pause = "word " * 5000, 0.01
    ask(page)
    expect(answer(page)).to_contain_text("word word")
    assert site.coder.running == 1
    if by_key:
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Stop").click()
    expect(page.locator(".rate")).to_contain_text("stopped")
    deadline = time.monotonic() + 2
    while site.coder.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert site.coder.running == 0
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_markup_of_the_model_stays_text(page: Any):
    ask(page, "<i>mine</i>")
    expect(page.locator(".rate")).to_be_visible()
    expect(answer(page)).to_contain_text("<b>not two</b>: <img src=x onerror=alert(1)>")
    expect(answer(page).locator("code").first).to_contain_text("<script>alert(2)</script>")
    assert page.locator("#log :is(b, i, img, script)").count() == 0
    assert answer(page).locator("strong").inner_text() == "one"
    links = answer(page).locator("a")
    assert [link.get_attribute("href") for link in links.all()] == ["https://example.org/"]
    assert "noopener" in (links.first.get_attribute("rel") or "")


def test_code_can_be_copied(page: Any, site: Site):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page)
    expect(page.locator(".rate")).to_be_visible()
    page.locator("figure").get_by_role("button", name="Copy").click()
    expect(page.locator("figure").get_by_role("button", name="Copied")).to_be_visible()
    code = "def add(a, b):  # <script>alert(2)</script>\n    return a + b"
    assert page.evaluate("navigator.clipboard.readText()") == code


def test_an_answer_can_be_made_again_and_survives_a_reload(page: Any, site: Site):
    ask(page)
    expect(page.locator(".rate")).to_be_visible()
    site.coder.says = "another"
    page.get_by_role("button", name="Answer again").click()
    expect(answer(page)).to_have_text("another")
    assert page.get_by_role("article").count() == 2
    page.reload()
    expect(answer(page)).to_have_text("another")
    page.get_by_role("button", name="New chat").click()
    assert page.get_by_role("article").count() == 0


def test_settings_are_sent_and_kept(page: Any):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Longest answer").fill("33")
    page.keyboard.press("Escape")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page)
    body = sent.value.post_data_json
    assert (body["temperature"], body["max_tokens"]) == (0.3, 33)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_the_hole_is_filled_by_keyboard(page: Any, site: Site):
    site.coder.says = "return a + b"
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Fill")).to_have_attribute("aria-selected", "true")
    page.get_by_label("Before the hole").fill("def add(a, b):\n    ")
    page.get_by_label("After the hole").fill("\n")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("region", name="The hole")).to_have_text("return a + b")
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_label("Before the hole")).to_have_value("def add(a, b):\n    return a + b")


def test_an_error_is_shown_and_can_be_tried_again(
    page: Any, site: Site, complaints: list[str], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(site.coder, "generate", broken)
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("the server failed")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".rate")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def broken(*_: Any) -> Iterator[Piece]:
    yield from ()
    raise ZeroDivisionError


def test_a_model_without_template_completes(browser: Any, tiny_coder: Any, complaints: list[str]):
    with Site(Script(tiny_coder, can_chat=False)) as site:
        site.coder.says = " world"
        page = browser.new_page()
        listen_for_complaints(page, complaints)
        page.goto(site.url)
        page.get_by_label("Text to continue").fill("hello")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_label("Text to continue")).to_have_value("hello world")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_label("Text to continue")).to_have_value("hello")
        page.close()
    assert complaints == []


def test_a_key_is_asked_for(browser: Any, tiny_coder: Any):
    with Site(Script(tiny_coder), api_keys=("sesame",)) as site:
        page = browser.new_page()
        page.goto(site.url)
        page.get_by_label("API key").fill("sesame")
        page.keyboard.press("Tab")
        expect(page.get_by_role("dialog")).to_be_hidden()
        ask(page)
        expect(page.locator(".rate")).to_be_visible()
        assert "sesame" not in page.url
        page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("dark", 360)])
def test_it_looks_right(browser: Any, site: Site, tmp_path: Path, scheme: str, width: int):
    """Dark where the system is dark, nothing wider than the window; the pictures are for people."""
    site.coder.says, site.coder.pause = MARKUP, 0.001
    context = browser.new_context(
        color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 760}
    )
    page = context.new_page()
    page.goto(site.url)
    ask(page)
    expect(page.locator(".rate")).to_be_visible()
    page.screenshot(path=tmp_path / f"{scheme}-{width}.png")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = sum(int(part) for part in ground[4:-1].split(",")) / 3
    assert shade < 60 if scheme == "dark" else shade > 200
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    names = page.get_by_role("button").evaluate_all("all => all.map(b => b.textContent.trim())")
    assert all(names)
    context.close()
