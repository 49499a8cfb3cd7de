"""The verb forks: who signed two logs, and the proofs of it as files.

Responsible for: showing the forks that a store knows; writing, checking and adding proofs.
Must not know: how a proof is made, or passed on.
Invariant: nothing is said of an author, and nothing is added, that the author's own two signatures do not show.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import closing
from typing import Final

from gossiplog.app.commands.arguments import only_with, path
from gossiplog.app.commands.authors import find_author
from gossiplog.app.commands.local import Opened, opened, opened_to_read
from gossiplog.app.printing import as_json, say
from gossiplog.errors import BadForkProofError, BadSegmentError, GossiplogError, StoreDamagedError
from gossiplog.limits import MAX_PROOF_FILE_BYTES
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import format_author
from gossiplog.log.segment import id_at
from gossiplog.paths import typed
from gossiplog.store.requests import AddFork

STANDARD: Final = "-"
"""As a file: standard input or output."""

_ID_CHARS: Final = 8
"""Hex digits of an id that let people tell two of one seq apart."""


def add_arguments(parser: ArgumentParser) -> None:
    """Say what the verb takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--export",
        nargs=2,
        metavar=("ID", "FILE"),
        help="write the proof about an author (its id, or how it begins) to a new file",
    )
    what.add_argument(
        "--check", type=path, metavar="FILE", help="say whether a file is a proof; no store is needed"
    )
    what.add_argument(
        "--add",
        type=path,
        metavar="FILE",
        help="freeze the author of a proof; peers get it at the next connection",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    only_with(parser, "what is printed, not for --export", lambda said: said.export is None, "--json")


def forks(arguments: Namespace) -> int:
    """Show the forks that a store knows, or do what the options say."""
    if arguments.check is not None:
        proof = _read(arguments.check)
        say(as_json(_statement(proof)) if arguments.json else f"{two_ids(proof)}: a fork")
        return 0
    added = None if arguments.add is None else _read(arguments.add)
    opening = opened_to_read if added is None else opened
    with closing(opening(arguments.store, arguments.wait)) as logs:
        if added is not None:
            return _add(logs, added, arguments.json)
        if arguments.export is not None:
            return _export(logs, *arguments.export)
        for author in sorted(logs.forks):
            proof = logs.fork_proof(author)
            say(as_json(_about(logs, proof)) if arguments.json else fork_line(logs, proof))
    return 0


def two_ids(proof: ForkProof) -> str:
    """Return in words what an author signed."""
    first, second = (entry_id.hex()[:_ID_CHARS] for entry_id in (proof.id, proof.segment.previous))
    return f"{format_author(proof.author)} signed {first} and {second} as entry {proof.seq}"


def fork_line(logs: Opened, proof: ForkProof) -> str:
    """Return in words what a store knows about a fork, and what it holds of that author."""
    about = _about(logs, proof)
    parts = [two_ids(proof)]
    if "held" in about:
        parts.append(f"{str(about['held'])[:_ID_CHARS]} is held")
    parts.append(f"frozen at {about['frozen_at']}" if about["frozen_at"] else "no entry is held")
    if "writer" in about:
        parts.append(f"the writer {about['writer']} appends no more")
    return "; ".join(parts)


def _statement(proof: ForkProof) -> dict[str, object]:
    ids = [proof.id.hex(), proof.segment.previous.hex()]
    return {"author": format_author(proof.author), "seq": proof.seq, "ids": ids}


def _about(logs: Opened, proof: ForkProof) -> dict[str, object]:
    """What :func:`_statement` says, and this store: the id that it holds at that seq, the head, the writer's name."""
    about = {**_statement(proof), "frozen_at": logs.clock.seq(proof.author)}
    try:
        segments = logs.segments(proof.author, proof.seq, 1)
        if segments:
            about["held"] = id_at(segments[0], proof.seq).hex()
    except (StoreDamagedError, BadSegmentError):
        pass  # verify says more about that
    for name, author in logs.writers().items():
        if author == proof.author:
            about["writer"] = name
    return about


def _export(logs: Opened, text: str, file: str) -> int:
    proof = logs.fork_proof(find_author(logs.forks, text, "the store knows no fork of it"))
    if file == STANDARD:
        sys.stdout.buffer.write(proof.dump())
        return 0
    file = typed(file)
    with open(file, "xb") as out:
        out.write(proof.dump())
    say(f"{two_ids(proof)}: the proof is in {file}")
    return 0


def _add(logs: Opened, proof: ForkProof, in_json: bool) -> int:
    known = proof.author in logs.forks
    [result] = logs.process([AddFork(proof)]).results
    if isinstance(result, GossiplogError):
        raise result
    kept = logs.fork_proof(proof.author)
    if in_json:
        say(as_json({**_about(logs, kept), "added": not known}))
    else:
        say(f"known already: {fork_line(logs, kept)}" if known else fork_line(logs, kept))
    return 0


def _read(file: str) -> ForkProof:
    """Read and check a proof."""
    if file == STANDARD:
        content = sys.stdin.buffer.read(MAX_PROOF_FILE_BYTES + 1)
    else:
        with open(file, "rb") as opened_file:
            content = opened_file.read(MAX_PROOF_FILE_BYTES + 1)
    try:
        return ForkProof.load(content)
    except BadForkProofError as error:
        raise BadForkProofError(f"{file}: {error}") from error
