"""The arguments of the verb simulate.

Responsible for: what they are called, and that what makes no sense together is wrong usage.
Must not know: how anything is simulated; it is imported when the verb runs.
Invariant: importing this module costs no more than argparse.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from importlib import import_module
from typing import Any

from gossiplog.app.commands.arguments import only_with, path

EXAMPLE = "gossiplog simulate --nodes 50 --links 6 --authors 100 --steady --assert-copies 1.1"


def add(verbs: Any) -> None:
    """Add the verb and its arguments to those of the command (what ``add_subparsers`` returned)."""
    parser: ArgumentParser = verbs.add_parser(
        "simulate",
        help="run simulated networks, and check what must always hold",
        description="Run simulated networks, and check after every event what must always hold.",
        epilog=f"example:\n  {EXAMPLE}",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--random", action="store_true", help="draw network, appends and faults anew for each seed"
    )
    what.add_argument(
        "--steady", action="store_true", help="measure a window in which authors append at an even pace"
    )
    what.add_argument("--scenario", type=path, metavar="FILE", help="run a scenario that was saved")
    _number(parser, "--nodes", 50, "nodes")
    _number(parser, "--links", 6, "links of each node")
    _number(parser, "--authors", 100, "authors, spread over the nodes")
    _number(parser, "--entries", 1, "entries that each author appends")
    _number(parser, "--size", 100, "bytes of each payload")
    parser.add_argument(
        "--rate", type=_positive, default=1.0, metavar="R", help="appends per author and second (default: 1)"
    )
    parser.add_argument(
        "--topology",
        default="regular",
        metavar="NAME",
        help="regular (default: each node has --links), line, ring, star, complete or random",
    )
    parser.add_argument(
        "--faults",
        default="none",
        metavar="KINDS",
        help="none (default), some (one for every ten nodes), all (each kind twice), or kinds with commas between",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=range(1), metavar="N|A..B", help="so many from 0 on, or A to B"
    )
    bars = (
        ("copies", "copies received per entry and node"),
        ("control", "control bytes for each byte of entries"),
        ("late", "last delivery as a multiple of the shortest-path time, for 99 of 100 entries"),
        ("hops", "hops of any entry"),
        ("converged", "seconds from the last change until every node has everything"),
    )
    for name, meaning in bars:
        parser.add_argument(f"--assert-{name}", type=_positive, metavar="MOST", help=f"fail above: {meaning}")
    parser.add_argument(
        "--save", type=path, metavar="DIR", help="save the shrunk scenario of each failure here"
    )
    parser.add_argument("--plot", type=path, metavar="FILE", help="draw how the first seed converged, as SVG")
    parser.add_argument("--json", action="store_true", help="print one JSON object per seed")
    parser.set_defaults(verb=simulate)
    network = ("--nodes", "--links", "--authors", "--size", "--rate")
    only_with(
        parser,
        "a network that is neither drawn nor saved",
        lambda said: not (said.random or said.scenario),
        *network,
    )
    others = ("--entries", "--topology", "--faults")
    only_with(
        parser,
        "a network that is not --random, --steady or saved",
        lambda said: not (said.random or said.scenario or said.steady),
        *others,
    )
    only_with(parser, "what is not saved", lambda said: not said.scenario, "--seeds")


def simulate(arguments: Namespace) -> int:
    """Run the seeds; exit status 0 when everything held."""
    if arguments.plot and arguments.steady:
        arguments.wrong("--plot shows how a network converges: not with --steady")
    return int(import_module("gossiplog.app.commands.simulate").simulate(arguments))


def _number(parser: ArgumentParser, option: str, default: int, meaning: str) -> None:
    """Add an option that takes a whole number from 1 on."""
    parser.add_argument(
        option, type=_whole, default=default, metavar="N", help=f"{meaning} (default: {default})"
    )


def _whole(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError(f"a whole number from 1 to 1000000, not {text}")
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ArgumentTypeError(f"a positive number, not {text}")
    return value


def _seeds(text: str) -> Any:
    first, dots, last = text.partition("..")
    if not dots:
        return range(_whole(text))
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise ArgumentTypeError(f"seeds are a number or A..B, not {text}")
    return range(int(first), int(last) + 1)
