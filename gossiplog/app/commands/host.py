"""The verb host: many networks in one process.

Responsible for: running them until SIGINT or SIGTERM, SIGHUP; saying what a file would do.
Must not know: how networks are run.
Invariant: ``--check`` changes nothing.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog.app.commands.replicate import react
from gossiplog.app.hosting.asking import asked
from gossiplog.app.hosting.file import HostFile, describe, read
from gossiplog.app.hosting.host import NOTHING, Host, reload_on_hangup
from gossiplog.app.hosting.plan import digests, steps
from gossiplog.app.log_options import log_options
from gossiplog.app.logs import Lines
from gossiplog.app.printing import FAILURE, StatusLine, complain, say
from gossiplog.errors import HostFileError


def host(arguments: Namespace) -> int:
    """Host what the file says, or say what it would do."""
    try:
        file = read(arguments.file)
    except HostFileError as error:
        for problem in error.problems:
            complain(problem)
        return FAILURE
    if arguments.check:
        return _check(file)
    lines = Lines(StatusLine(), log_options(arguments.log_json, arguments.log_level))
    return react(_host, file, log=lines)


async def _host(reactor: Any, file: HostFile) -> None:
    running = Host(reactor, file)
    reload_on_hangup(reactor, running)
    try:
        say(await running.start())
        sys.stdout.flush()
        await Deferred()
    finally:
        await running.stop()


def _check(file: HostFile) -> int:
    for words in describe(file):
        say(words)
    running = asked(file)
    if running is None:
        say("no host of this file runs")
        return 0
    say(f"a host of this file runs; after SIGHUP, of {len(file.networks):,} networks:")
    planned = list(steps(running, digests(file, told=True)))
    for step in planned:
        say(str(step))
    if not planned:
        say(NOTHING)
    return 0
