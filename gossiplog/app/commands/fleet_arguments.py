"""The arguments of the verb fleet.

Responsible for: what they are called, what is wrong with one.
Must not know: what the verb does; it is imported when it runs.
Invariant: none.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from gossiplog.app.commands.arguments import only_with, path

EXAMPLE = (
    "gossiplog fleet init --store 'postgresql:///?service=relays'\n"
    "  gossiplog fleet status --store 'postgresql:///?service=relays'"
)

ACTIONS = {
    "init": "make the tables",
    "migrate": "bring them up to date",
    "status": "show tables, relays and standbys",
}


def add(verb: Callable[..., ArgumentParser], run: Callable[[Namespace], int]) -> None:
    """Add the verb, which ``run`` does."""
    about = "look after a store on PostgreSQL that several relays share"
    parser = verb("fleet", run, about, EXAMPLE, has_store=False)
    actions = "; ".join(f"{name}: {about}" for name, about in ACTIONS.items())
    parser.add_argument("action", choices=[*ACTIONS], metavar="|".join(ACTIONS), help=actions)
    parser.add_argument(
        "--store",
        metavar="PLACE",
        type=path,
        default=os.environ.get("GOSSIPLOG_STORE") or None,
        help="postgresql:///?service=NAME, of which a service file says the rest (default: $GOSSIPLOG_STORE)",
    )
    parser.add_argument(
        "--sql", action="store_true", help="with init or migrate: print what is to be done, and do nothing"
    )
    parser.add_argument("--json", action="store_true", help="with status: print one JSON object")
    only_with(parser, "init and migrate", lambda said: said.action != "status", "--sql")
    only_with(parser, "status", lambda said: said.action == "status", "--json")
