"""Ring 8: no option of a verb is taken and then ignored.

Each verb that needs neither peers nor a node is run in each of its ways, with each of its options beside: one that it
does not look at has to be wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
from contextlib import closing, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app import cli
from gossiplog.log import passphrase as passphrases
from gossiplog.log.keys import Keypair, format_author
from gossiplog.store.logs import open_logs
from tests.test_forks import fork_of

WAYS = """\
init --store new
id
id --all
append hello
log
log --sort time
clock
verify
verify --repair
import other
import other.logs
export new.logs
backup new
restore --store new saved
compact
key protect --new-passphrase-file secret
key unprotect
key export --words
key import --words-file words --writer another
forks
forks --check proof
forks --add proof
forks --export FORKED new
follow
follow AUTHOR
unfollow OTHER
block OTHER
block OTHER --delete
unblock OTHER
search hello
views
recover --alone
host --check host.toml
invite
room --make-key
simulate --nodes 3 --links 2 --authors 1
simulate --nodes 3 --links 2 --authors 1 --steady
simulate --random
"""
"""All of them end by themselves."""

VALUES = {
    "--store": "store",
    "--wait": "1",
    "--writer": "default",
    "--author": "AUTHOR",
    "--passphrase-file": "secret",
    "--new-passphrase-file": "secret",
    "--words-file": "words",
    "--network": "@key",
    "--listen": "tcp:4000",
    "--peer": "tcp:192.0.2.7:4000",
    "--dht-bootstrap": "192.0.2.7:4000",
    "--room": f"tcp:192.0.2.7:4000#{'a' * 64}",
    "--from": "other",
    "--where": "a=b",
    "--since": "2h",
    "--until": "2h",
    "--sort": "time",
    "--log-level": "info",
    "--key": "b" * 64,
    "--limit": "3",
    "--export": "FORKED new.proof",
    "--check": "proof",
    "--add": "proof",
    "--topology": "line",
    "--faults": "none",
    "--scenario": "saved.json",
    "--save": "new",
    "--plot": "new.svg",
    "--drop": "birds",
    "--rebuild": "birds:Birds",
}
"""Of options with one; of others it is a small number."""

PREPARED = """\
init --store store
append --store store hello
forks --store store --add proof
init --store other
append --store other hello
export --store other other.logs
backup --store store saved
invite
"""

WORDS = [*["abandon"] * 23, "art"]

ELSEWHERE = re.compile("--(help|follow|random|scenario|assert-.*)")
"""Ends not by itself, is a way above, or is read as others of its kind."""

APART = {
    "--export",
    "--check",
    "--add",
    "--drop",
    "--rebuild",
    "--scenario",
    "--random",
    "--steady",
    "--repair",
}
"""Of these each is a way of its own."""


class Looked(argparse.Namespace):
    """I know what a verb looked at."""

    def __getattribute__(self, name: str) -> Any:
        looked = object.__getattribute__(self, "__dict__").setdefault("_looked", set())
        if name == "verb":
            looked.clear()  # what comes now is the verb's
        looked.add(name)
        return object.__getattribute__(self, name)


class OptionTests(SynchronousTestCase):
    """Of every way."""

    def setUp(self) -> None:
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(place)
        self.patch(passphrases, "COST", passphrases.Cost(1, 8192))
        self.patch(
            os, "environ", {**os.environ, "GOSSIPLOG_PASSPHRASE": "correct horse", "GOSSIPLOG_STORE": "store"}
        )
        ann = Keypair(bytes(32))
        Path("proof").write_bytes(fork_of(ann).dump())
        for name, text in (("secret", "correct horse"), ("key", "c" * 64), ("words", " ".join(WORDS))):
            Path(name).write_text(text)
            os.chmod(name, 0o600)
        Path("host.toml").write_text('[network.garden]\nstore = "store"\nnetwork = "@key"\n')
        for words in PREPARED.splitlines():
            self.assertEqual(self.run_it(words.split())[0], 0, words)
        with closing(open_logs("store")) as logs:
            self.texts = {
                "FORKED": format_author(ann.author),
                "AUTHOR": format_author(logs.writers()["default"]),
            }
        with closing(open_logs("other")) as logs:
            self.texts["OTHER"] = format_author(logs.writers()["default"])
        self.made = 0

    def run_it(self, words: list[str]) -> tuple[int, set[str], str]:
        """Run the command; return its status, at what the verb looked, and what it complained of."""
        made: list[Looked] = []

        def namespace(**said: Any) -> Looked:
            made.append(Looked(**said))
            return made[-1]

        with (
            mock.patch.object(argparse, "Namespace", namespace),
            mock.patch("sys.stdin", StringIO("")),
            redirect_stdout(TextIOWrapper(BytesIO())),
            redirect_stderr(StringIO()) as complaint,
        ):
            status = cli.main(words)
        return status, made[0].__dict__["_looked"] if made else set(), complaint.getvalue()

    def words(self, text: str) -> list[str]:
        """Return what is typed, with names of files that are not there yet."""
        self.made += 1
        return [self.texts.get(word, re.sub("^new", f"new{self.made}", word)) for word in text.split()]

    def test_every_option(self) -> None:
        """Is looked at, or wrong usage."""
        [verbs] = [each for each in cli._parser()._actions if isinstance(each, argparse._SubParsersAction)]
        wrong = []
        for way in WAYS.splitlines():
            status, _, complaint = self.run_it(self.words(way))
            self.assertIn(status, (0, 3), (way, complaint))
            for action in verbs.choices[way.split()[0]]._actions:
                option = action.option_strings[-1] if action.option_strings else ""
                apart = APART if APART.intersection(way.split()) else ()
                if "--check proof" in way and option in ("--store", "--wait"):
                    continue  # which somebody has in an alias; the help says that none is needed
                if not option or ELSEWHERE.fullmatch(option) or option in (*way.split(), *apart):
                    continue
                value = "" if action.nargs == 0 or option == "--lan" else VALUES.get(option, "3")
                status, looked, complaint = self.run_it([*self.words(way), *self.words(f"{option} {value}")])
                if status == 2 and option not in complaint:
                    wrong.append((way, option, complaint))
                elif status != 2 and not {action.dest, "__dict__"} & looked:
                    wrong.append((way, option, "is ignored"))
        self.assertEqual(wrong, [])
