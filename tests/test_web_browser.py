"""Ring 8: the web page in a real Chromium: what is seen, read aloud and typed, with hostile peers and many authors.

Needs ``playwright`` and ``axe-playwright-python`` (the extra ``browser``) and a Chromium: Playwright's, or the one that
GOSSIPLOG_CHROMIUM or the path names.  GOSSIPLOG_SCREENSHOTS is a directory for pictures to look at.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept
from gossiplog.testing import Chain
from tests.processes import ProcessTestCase

CHROMIUM = os.environ.get("GOSSIPLOG_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>\u202e\x1b[2J" onmouseover=1 \''

if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
    raise SkipTest("needs the extra browser")
if CHROMIUM is None:
    raise SkipTest("needs a Chromium")


class BrowserTests(ProcessTestCase):
    """Two nodes, one of them with a page."""

    def setUp(self) -> None:
        super().setUp()
        from playwright.sync_api import sync_playwright

        self.run_gossiplog("init", "--store", "bob")
        self.fill()
        bob = self.gossiplog(
            "run", "--store", "bob", "--network", "n", "--listen", "tcp:0:interface=127.0.0.1"
        )
        where = bob.ready()["listening"][0]
        self.node = self.gossiplog(
            *("run", "--store", "ann", "--network", "n", "--web", "tcp:0", "--peer", where),
            *("--peer", "tcp:127.0.0.1:1", "--listen", "tcp:0:interface=127.0.0.1", "--max-authors", "20000"),
        )
        about = self.node.ready()
        self.url = about["web"]
        nick = ("--nick", HOSTILE[:60], "--peer", about["listening"][0])
        self.gossiplog("chat", "--store", "eve", "--network", "n", *nick)
        self.token = (self.place / "ann" / "web.token").read_text().strip()
        browser = sync_playwright().start()
        self.addCleanup(browser.stop)
        self.chromium = browser.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        self.addCleanup(self.chromium.close)

    def fill(self) -> None:
        """Ten thousand authors in the store of the page, and hostile entries."""
        self.run_gossiplog("init", "--store", "ann")
        self.run_gossiplog("init", "--store", "eve")

    def page(self, scheme: str = "light", width: int = 1200, height: int = 900) -> Any:
        """Open it; whatever goes wrong in it fails the test."""
        context = self.chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        self.addCleanup(context.close)
        page = context.new_page()
        self.wrong: list[str] = []
        page.on(
            "console", lambda message: self.wrong.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.goto(self.url)
        page.wait_for_selector("#connection.good")
        page.wait_for_selector("#peers tr:nth-child(1) th")
        return page

    def picture(self, page: Any, name: str) -> None:
        """Keep a picture for who wants to look."""
        place = os.environ.get("GOSSIPLOG_SCREENSHOTS")
        if place:
            page.screenshot(path=Path(place) / f"{name}.png", full_page=True)

    def axe(self, page: Any) -> list[str]:
        """What axe-core finds wrong."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(page).response["violations"]
        return [f"{each['id']}: {[node['html'][:300] for node in each['nodes']][:3]}" for each in found]

    def test_page(self) -> None:
        """All of it, in one browser, since each start takes seconds."""
        page = self.page()
        self.act(page)
        self.keyboard(page)
        page.locator("#entries .entry").nth(1).wait_for()
        page.locator("#peers", has_text=HOSTILE[:20]).wait_for()
        self.assertFalse(page.evaluate("'owned' in window"))
        self.assertIn("<script>window.owned=1</script>", page.inner_text("#entries"))
        self.assertEqual(page.evaluate("document.querySelectorAll('main script, main img').length"), 0)
        self.picture(page, "light")
        self.assertEqual(self.axe(page), [])
        self.assertEqual(self.wrong, [])
        for scheme, width, name in (
            ("dark", 1200, "dark"),
            ("light", 360, "phone"),
            ("dark", 360, "phone-dark"),
        ):
            other = self.page(scheme, width)
            other.wait_for_selector("#logs tr:nth-child(1) th")
            self.assertEqual(self.axe(other), [], name)
            wide = other.evaluate("document.documentElement.scrollWidth")
            self.assertLessEqual(wide, width, name)
            self.picture(other, name)
            self.assertEqual(self.wrong, [], name)
        self.logs(page)
        self.nodes(page)
        self.gone(page)

    def act(self, page: Any) -> None:
        """Without the token nothing is done; with it an entry is appended, an author blocked, an endpoint dialled."""
        page.fill("#append-text", "before the token")
        page.click("form[data-act=append] button")
        self.said(page, "needed first")
        for token, said in (("wrong", "that is not the token"), (self.token, "append: entry 1 of")):
            page.fill("#token", token)
            page.click("#token-form button")
            page.fill("#append-text", HOSTILE)
            page.click("form[data-act=append] button")
            self.said(page, said)
        self.wrong = [each for each in self.wrong if "403" not in each]  # Chromium logs that
        page.fill("#append-text", "a second entry\nof two lines")
        page.click("form[data-act=append] button")
        self.said(page, "entry 2 of")
        page.fill("#endpoint", "tcp:127.0.0.1:2")
        page.press("#endpoint", "Enter")
        self.said(page, "is dialled")
        self.assertNotIn(self.token, page.content())

    def keyboard(self, page: Any) -> None:
        """Whatever can be clicked is reached by Tab, and seen to be."""
        page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        reached = set()
        for _ in range(120):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
            )
        for name in ("Skip to content", "logs-search", "logs-sort", "entries-pause", "token", "append-text", "Append",
                     "author", "Follow", "Block", "endpoint", "Connect", "of-node", "Disconnect", "Ban"):  # fmt: skip
            self.assertIn(name, reached)
        page.focus("#entries-pause")
        page.keyboard.press("Enter")
        self.assertEqual(page.get_attribute("#entries-pause", "aria-pressed"), "true")
        page.keyboard.press("Enter")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        self.assertEqual(width, "3px")

    def nodes(self, page: Any) -> None:
        """Disconnected, banned and let in by keyboard alone; nothing before it was asked for twice."""
        eve = page.locator("#peers tr", has_text=HOSTILE[:20])
        peer = eve.locator("th").get_attribute("title")
        sure = page.locator("#sure")
        page.focus(f"#ban-{peer}")
        page.keyboard.press("Enter")
        sure.wait_for()
        self.assertEqual(page.evaluate("document.activeElement.value"), "no")
        self.picture(page, "sure")
        self.assertEqual(self.axe(page), [])
        page.keyboard.press("Escape")
        sure.wait_for(state="hidden")
        self.assertEqual(page.evaluate("document.activeElement.id"), f"ban-{peer}")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        sure.wait_for(state="hidden")
        self.assertEqual(page.inner_text("#bans tr:nth-child(1)"), "nobody is kept out")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        self.said(page, "ban: node")
        page.locator("#bans", has_text="the operator said so").wait_for()
        eve.wait_for(state="detached")
        self.assertEqual(page.evaluate("document.activeElement.id"), "peers-title")
        self.picture(page, "banned")
        self.assertEqual(self.axe(page), [])
        page.focus(f"#unban-{peer}")
        page.keyboard.press("Enter")
        self.said(page, "unban: node")
        page.locator("#bans", has_text="nobody is kept out").wait_for()
        page.fill("#of-node", "nonsense")
        page.click("form[data-act=node] button[value=disconnect]")
        page.click("#sure-yes")
        self.said(page, "not a key")
        self.wrong = [each for each in self.wrong if "400" not in each]  # Chromium logs that
        self.assertEqual(self.wrong, [])

    def said(self, page: Any, words: str) -> None:
        """Wait until it says so; it lets nobody evaluate a text, no test either."""
        page.locator("#said", has_text=words).wait_for()

    def logs(self, page: Any) -> None:
        """Found by how they begin."""
        from playwright.sync_api import expect

        name = page.inner_text("#logs tr:nth-child(1) th")
        page.fill("#logs-search", name)
        expect(page.locator("#logs tr")).to_have_count(1)
        self.assertEqual(page.inner_text("#logs tr:nth-child(1) th"), name)

    def gone(self, page: Any) -> None:
        """A node that stops is said to be gone."""
        self.assertEqual(self.node.interrupt(), 0, self.node.err)
        page.wait_for_selector("#connection.bad")


class ManyTests(BrowserTests):
    """As above, with ten thousand logs."""

    if "GOSSIPLOG_BROWSER" not in os.environ:
        skip = "takes a while; see CONTRIBUTING.rst"

    def fill(self) -> None:
        super().fill()
        with closing(open_logs(self.place / "ann")) as logs:
            chains = [Chain(number) for number in range(1, 10_001)]
            logs.process([Accept(chain.write(HOSTILE.encode())[0], chain.head) for chain in chains])
