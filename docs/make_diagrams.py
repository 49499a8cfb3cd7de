"""Draw the pictures of architecture.rst and replication.rst from the code itself: ``python docs/make_diagrams.py``.

Writes ``docs/diagrams/*.svg``.  A test draws them again and compares.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import get_args

import gossiplog
from gossiplog.gossip import events
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.message_table import allowed
from gossiplog.gossip.messages import Hello, Message
from gossiplog.gossip.session import SERVICES, Phase, Service
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build

DIAGRAMS = Path(__file__).resolve().parent / "diagrams"
INK, PALE, LINE = "#1d2430", "#eef2f7", "#7d8aa0"
COLORS = {"extends": "#8fd18f", "duplicate": "#d9dfe8", "ahead": "#f3d08a", "suspect": "#e08a8a"}
ROW = 18


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """An SVG of this size, readable on white and on black."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            f'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="white"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def text(
    x: float, y: float, words: str, *, bold: bool = False, anchor: str = "start", fill: str = INK
) -> str:
    """A line of words."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str = PALE) -> str:
    """A frame for words."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{LINE}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """From one place to another."""
    return f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" stroke="{LINE}" fill="none" marker-end="url(#tip)"/>'


def names(kinds: Iterable[type[Message]]) -> list[str]:
    """Message types as the specification writes them."""
    return sorted(kind.__name__.upper() for kind in kinds if kind.__name__ != "Unknown")


def phases() -> str:
    """The phases of a session, and the messages that each takes."""
    width, left, gap = 190, 20, 70
    parts = []
    height = 70 + ROW * max(len(allowed(phase)) for phase in Phase)
    for place, phase in enumerate(Phase):
        x = left + place * (width + gap)
        parts += [box(x, 20, width, height - 40), text(x + 12, 42, phase.name, bold=True)]
        parts += [text(x + 12, 68 + number * ROW, name) for number, name in enumerate(names(allowed(phase)))]
        if place:
            said = Hello.__name__.upper() if phase is Phase.OPEN else "BYE"
            parts += [arrow(x - gap, 60, x, 60), text(x - gap / 2, 52, said, anchor="middle", fill=LINE)]
    return picture(
        left * 2 + 3 * width + 2 * gap, height, "Phases of a session and the messages they take", parts
    )


def services() -> str:
    """How a peer is served, and what changes it."""
    width, height, gap = 150, 56, 110
    parts = []
    for place, service in enumerate(Service):
        x = 20 + place * (width + gap)
        said = next(kind.__name__.upper() for kind, wanted in SERVICES.items() if wanted is service)
        parts += [
            box(x, 56, width, height),
            text(x + width / 2, 80, service.name, bold=True, anchor="middle"),
            text(x + width / 2, 100, service.value, anchor="middle"),
            arrow(x + width / 2, 22, x + width / 2, 56),
            text(x + width / 2 + 10, 38, said, fill=LINE),
        ]
    return picture(
        40 + 3 * width + 2 * gap, 132, "How a peer is served, and the message that makes it so", parts
    )


def core() -> str:
    """Events in, effects out."""
    inside, outside = ([kind.__name__ for kind in get_args(union)] for union in (events.Event, events.Effect))
    rows = max(len(inside), len(outside))
    height = 60 + rows * ROW
    parts = [
        box(250, 20, 180, height - 40),
        text(340, height / 2, "Replica.handle", bold=True, anchor="middle"),
    ]
    parts.append(text(340, height / 2 + ROW, "(event, now)", anchor="middle"))
    for column, (kinds, x) in enumerate(((inside, 20), (outside, 480))):
        for number, name in enumerate(kinds):
            y = 44 + number * ROW
            parts.append(text(x, y, name))
            parts.append(arrow(170, y - 4, 250, y - 4) if column == 0 else arrow(430, y - 4, 472, y - 4))
    return picture(640, height, "Events go into the replica, effects come out", parts)


def log(entries: int, sizes: tuple[int, ...] = ()) -> tuple[list[Segment], list[Head]]:
    """Single entries of a log, with the head after each; entries from ``sizes`` on are of another branch."""
    pair = Keypair(bytes(range(32)))
    head = Head(0, genesis_id(pair.author))
    made, heads = [], [head]
    for number in range(entries):
        [segment], head = build(pair, head, [encode_body(number, b"x" * (number in sizes))])
        made.append(segment)
        heads.append(head)
    return made, heads


def verdict(first: int, last: int, entries: list[Segment], ours: Head) -> str:
    """What :func:`judge` says of the segment with these entries."""
    parts = entries[first - 1 : last]
    segment = parts[-1]._replace(
        first=first, count=len(parts), previous=parts[0].previous, bodies=b"".join(p.bodies for p in parts)
    )
    found = judge(segment, ours)
    return "extends" if isinstance(found, Extends) else found.name.lower()


def acceptance() -> str:
    """Every segment against a head of 4, as the code judges it: of the log we have, and of a branch from entry 4 on."""
    size, most, h = 34, 8, 4
    entries, heads = log(most)
    branch, _ = log(most, sizes=tuple(range(h - 1, most)))
    parts = []
    for place, (title, theirs) in enumerate(
        (("the log we hold", entries), ("another branch from h on", branch))
    ):
        left, top = 90 + place * (most + 3) * size, 70
        parts.append(text(left, 24, title, bold=True))
        parts.append(text(left, 44, "last", fill=LINE))
        parts += [
            text(left + (last - 0.5) * size, 62, label(last - h), anchor="middle")
            for last in range(1, most + 1)
        ]
        for first in range(1, most + 1):
            y = top + (first - 1) * size
            parts.append(text(left - 10, y + 22, label(first - h), anchor="end"))
            for last in range(first, most + 1):
                found = verdict(first, last, theirs, heads[h])
                parts.append(box(left + (last - 1) * size, y, size, size, COLORS[found]))
        parts.append(text(left - 50, top - 8, "first", fill=LINE))
    x = 90
    for name, color in COLORS.items():
        meaning = (
            "EXTENDS: accepted" if name == "extends" else f"{name.upper()}: {Verdict[name.upper()].value}"
        )
        y = 70 + most * size + 20 + ROW * list(COLORS).index(name)
        parts += [box(x, y - 11, 14, 14, color), text(x + 22, y, meaning)]
    return picture(
        90 + (2 * most + 3) * size + 20, 70 + most * size + 20 + 4 * ROW, "What becomes of a segment", parts
    )


def label(offset: int) -> str:
    """A seq relative to the head we hold."""
    return "h" if offset == 0 else f"h{offset:+d}"


ROOMS = {
    **dict.fromkeys(("errors", "limits", "paths", "printable", "arguments", "back_off"), "values"),
    **dict.fromkeys(("node", "ticket"), "node"),
    "notices": "notices",
}
"""Modules beside the packages, and in which box they are drawn; the others are a box each."""


def imported() -> dict[str, set[str]]:
    """Which rooms each room imports, as far as no other one between them does too; read from the imports."""
    package = Path(gossiplog.__file__).parent
    needs: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        first = path.relative_to(package).with_suffix("").parts[0]
        if first in ("__init__", "protocol"):  # protocol only passes names on
            continue
        room = ROOMS.get(first, first)
        found = needs.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_bytes())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                bare = node.module == "gossiplog"
                modules = [f"gossiplog.{alias.name}" if bare else node.module for alias in node.names]
            for module in modules:
                first, _, rest = module.partition(".")
                other = ROOMS.get(rest.partition(".")[0], rest.partition(".")[0])
                if first == "gossiplog" and other[:1].islower() and (room, other) != ("testing", "app"):
                    found.add(other)  # the simulator prints as the commands do; they start it
    needs = {room: (others & needs.keys()) - {room} for room, others in needs.items()}

    def below(room: str) -> set[str]:
        return needs[room].union(*(below(other) for other in needs[room]))

    return {
        room: {other for other in others if not any(other in below(between) for between in others - {other})}
        for room, others in needs.items()
    }


def layers() -> str:
    """The rooms of the package, each above all that it imports."""
    needs = imported()

    def level(room: str) -> int:
        return 1 + max((level(other) for other in needs[room]), default=-1)

    width, height, gap_x, gap_y = 110, 34, 40, 34
    rows: dict[int, list[str]] = {}
    for room in sorted(needs):
        rows.setdefault(level(room), []).append(room)
    across = max(map(len, rows.values()))
    whole = 40 + across * width + (across - 1) * gap_x
    place = {}
    for number, rooms in rows.items():
        left = (whole - len(rooms) * width - (len(rooms) - 1) * gap_x) / 2
        y = 20 + (max(rows) - number) * (height + gap_y)
        place.update({room: (left + at * (width + gap_x), y) for at, room in enumerate(rooms)})
    parts = []
    for room, others in sorted(needs.items()):
        for other in sorted(others):
            (x1, y1), (x2, y2) = place[room], place[other]
            parts.append(arrow(x1 + width / 2, y1 + height, x2 + width / 2, y2))
    for room, (x, y) in place.items():
        parts += [box(x, y, width, height), text(x + width / 2, y + 22, room, bold=True, anchor="middle")]
    title = "The rooms of the package: each imports what its arrows lead to, and what is below that"
    return picture(int(whole), 40 + (max(rows) + 1) * (height + gap_y) - gap_y, title, parts)


PICTURES: dict[str, Callable[[], str]] = {
    "layers.svg": layers,
    "core.svg": core,
    "phases.svg": phases,
    "services.svg": services,
    "acceptance.svg": acceptance,
}

if __name__ == "__main__":
    DIAGRAMS.mkdir(exist_ok=True)
    for file, draw in PICTURES.items():
        (DIAGRAMS / file).write_text(draw())
