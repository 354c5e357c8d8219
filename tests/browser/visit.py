"""A tab with a page of the dashboard: what is seen in it, and what went wrong in it."""

import time
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Request

# Longest time, in seconds, until a view has shown all that it asked for.
PATIENCE_S = 60.0
# So long nothing may be on its way: one answer can be the next one's question.
QUIET_S = 0.4

LIVE = b'"live":true'
IS_LOADING = """() => {
  const view = document.getElementById("view");
  return view === null || view.matches(":empty")
    || view.querySelector("[aria-busy=true], .skeleton, .center[role=status]") !== null;
}"""
TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`security policy: ${event.violatedDirective} ${event.blockedURI}`))"""
# The words on buttons and what is chosen, in their order: what a copied address must bring back.
CHOSEN = """() => ({
  figures: [...document.querySelectorAll("section.figure")].map((figure) => figure.dataset.figure),
  titles: [...document.querySelectorAll("h1, h2")].map((title) => title.textContent),
  pressed: [...document.querySelectorAll("[aria-pressed=true]")].map((button) => button.textContent),
  values: [...document.querySelectorAll("#view input, #view select, #view textarea")]
    .map((field) => field.type === "checkbox" ? field.checked : field.value),
  chips: [...document.querySelectorAll(".chip")].map((chip) => chip.textContent),
})"""


class Visit:
    """One tab. Errors on its console, exceptions, violations of its policy and requests to others are kept."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.host = urlsplit(url).netloc
        self.complaints: list[str] = []
        # What is on its way, but for the live lines, which have no end.
        self.pending: set[Request] = set()
        context.on("request", self.requested)
        context.on("requestfinished", self.ended)
        context.on("requestfailed", self.ended)
        context.on("console", self.told)
        context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        context.add_init_script(TELL_VIOLATIONS)
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)

    def requested(self, request: Request) -> None:
        if LIVE not in (request.post_data_buffer or b""):
            self.pending.add(request)
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self.host:
            self.complaints.append(f"asked another host: {request.url}")

    def ended(self, request: Request) -> None:
        self.pending.discard(request)

    def told(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def nothing_went_wrong(self) -> None:
        assert not self.complaints, "; ".join(self.complaints)

    def expect_trouble(self) -> None:
        """From here on the browser may complain: the check takes the service away."""
        self.complaints = Forgotten()

    def open(self, path: str) -> None:
        self.page.goto(path if "://" in path else self.url + path)
        self.settle()

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Waits until everything that the view asked for is there."""
        end = time.monotonic() + patience_s
        quiet_since = None
        while quiet_since is None or time.monotonic() < quiet_since + QUIET_S:
            assert time.monotonic() < end, f"{self.page.url} is still loading after {patience_s:.0f} s"
            self.page.wait_for_timeout(50)
            now = time.monotonic()
            is_loading = self.page.evaluate(IS_LOADING) or self.pending
            quiet_since = None if is_loading else quiet_since or now

    def chosen(self) -> dict:
        """What is chosen and shown, as far as the address must bring it back."""
        return self.page.evaluate(CHOSEN)

    def figures(self) -> list[str]:
        """Names of the figures of the view."""
        return self.chosen()["figures"]

    def figure(self, name: str) -> Locator:
        return self.page.locator(f'section.figure[data-figure="{name}"]')

    def text(self) -> str:
        return self.page.locator("#view").inner_text()

    def reads(self, words: str, patience_s: float = PATIENCE_S) -> None:
        """Until these words are seen."""
        self.page.get_by_text(words).first.wait_for(timeout=patience_s * 1000)


class Forgotten(list[str]):
    """Takes complaints and keeps none."""

    def append(self, _complaint: str) -> None:
        return
