"""Chat on a terminal over logs: what ``gossiplog chat`` does.

Responsible for: the form of a chat message, showing what was said and what is said, sending what is typed.
Must not know: peers, networks, how the store came to be open.
Invariant: a message is one line, and not a long one; it names what was there when it was said, and is shown behind it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from gossiplog.app.foreground import first_of
from gossiplog.app.terminal import Terminal
from gossiplog.live.store import Store
from gossiplog.live.writer import Writer
from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry
from gossiplog.printable import brief

TYPE: Final = "chat-message"
"""What tells a chat message from other JSON in the same logs."""

SHOWN: Final = 200
"""Messages that are on the terminal before the first new one: some screens full."""

QUIT: Final = "/quit"

SETTLE_SECONDS: Final = 0.2
"""That a line waits for others that belong before it: what is said behind it is never shown before it anyway."""


def compose(nick: str, text: str) -> dict[str, str]:
    """Return the message for a typed line."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"type": TYPE, "nickname": nick, "text": text, "timestamp": now}


def line_of(entry: Entry) -> str | None:
    """Return ``nickname> text``, each cut to what a line takes; None if it is no chat message."""
    message: Any = entry.payload
    if entry.malformed or not isinstance(message, dict) or message.get("type") != TYPE:
        return None
    nickname, text = message.get("nickname"), message.get("text")
    if not isinstance(nickname, str) or not isinstance(text, str):
        return None
    return f"{brief(nickname)}> {brief(text)}"


async def show_history(terminal: Terminal, store: Store) -> Cursor:
    """Show what was said last, in the order of places; return how far that is."""
    page = await store.timeline(SHOWN, where=lambda entry: line_of(entry) is not None, encoding="json")
    for entry in reversed(page.entries):
        await _show(terminal, entry)
    return page.cursor


async def talk(terminal: Terminal, store: Store, writer: Writer, nick: str, seen: Cursor) -> None:
    """Show what comes after ``seen``, and append typed lines, until the input ends or ``/quit``."""
    news = store.read(after=seen, order="causal", live=True, settle=SETTLE_SECONDS, encoding="json")
    await first_of(_speak(terminal, store, writer, nick), _listen(terminal, news, writer.author))


async def _speak(terminal: Terminal, store: Store, writer: Writer, nick: str) -> None:
    async for line in terminal:
        if line.strip() == QUIT:
            return
        if line.strip():
            await writer.append(compose(nick, line), after=await store.heads())


async def _listen(terminal: Terminal, entries: Any, own: bytes) -> None:
    async for entry in entries:
        if entry.author != own:  # that line is on the terminal already
            await _show(terminal, entry)


async def _show(terminal: Terminal, entry: Entry) -> None:
    line = line_of(entry)
    if line is not None:
        await terminal.write(line)
