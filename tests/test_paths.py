"""Rings 1 and 8: every kind of path that a program gives or a person types, and what is said of those that are none."""

from __future__ import annotations

import os
import sys
from contextlib import closing, redirect_stderr
from io import StringIO
from pathlib import Path

from twisted.internet import reactor
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import import_store
from gossiplog.app import cli
from gossiplog.app.keyfile import said
from gossiplog.app.tap import Options
from gossiplog.errors import GossiplogError, InvalidValueError, StoreError
from gossiplog.live.opening import open_store
from gossiplog.paths import absolute, typed
from gossiplog.store.directory import StoreDirectory
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from tests.processes import ProcessTestCase, environment

NO_PATHS: tuple[object, ...] = ("", b"", "a\0b", b"a\0b", "\ud800", 5, None, ["a"])
LATIN = os.fsdecode(b"caf\xe9")
GO_AWAY = "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); "


class ValueTests(SynchronousTestCase):
    """What a program may give."""

    def test_every_form(self) -> None:
        """Text, bytes, Path; each names the same place wherever the program goes."""
        here = os.getcwd()
        for path in ("a", b"a", Path("a")):
            self.assertEqual(absolute(path), os.path.join(here, "a"))
        self.assertEqual(absolute(b"/caf\xe9"), f"/{LATIN}")
        self.assertEqual(absolute("/a//b/../c/"), "/a/c")

    def test_no_path(self) -> None:
        for path in NO_PATHS:
            self.assertRaises(InvalidValueError, absolute, path)
            for use in (StoreDirectory, open_logs, salvage):
                self.assertRaises(InvalidValueError, use, path)
            self.assertRaises(InvalidValueError, open_store, path, reactor)

    def test_home(self) -> None:
        """It is meant where a shell does not see it; of a user who is not there nothing is made."""
        self.patch(os, "environ", {**os.environ, "HOME": "/home/ann"})
        cases = {"~": "/home/ann", "~/x": "/home/ann/x", "./~/x": "./~/x", "a~": "a~", "-": "-"}
        for text, path in cases.items():
            self.assertEqual(typed(text), path)
        error = self.assertRaises(InvalidValueError, typed, "~no-such-user/x")
        self.assertIn("./~no-such-user", str(error))


class StoreTests(SynchronousTestCase):
    """Stores in places with unusual names."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.place))

    def test_names(self) -> None:
        """Whatever bytes they have: opened, opened again, found by SQLite, rebuilt."""
        for name in (b"caf\xe9", "café".encode(), b"a\nb", b"50%", b"a?b#c", b" ", b"-x", b"~"):
            path = os.path.join(os.fsencode(self.place), name)
            for form in (path, os.fsdecode(path), Path(os.fsdecode(path))):
                with closing(open_logs(form)) as logs:
                    self.assertEqual(logs.path, os.fsdecode(path))
                    logs.writer("default")
                self.assertTrue(os.path.isfile(os.path.join(path, b"log.sqlite")))
            with closing(open_logs(path, read_only=True)):
                pass
            self.assertEqual(salvage(path).rows, 0)
            str(self.assertRaises(StoreError, open_logs, os.path.join(path, b"lock", b"x"))).encode()
        self.assertEqual(len(self.names()), 8)

    def test_too_long(self) -> None:
        """Refused before anything is made, at one byte more than SQLite takes; also parents are not left."""
        longest = self.place
        while (left := 489 - len(os.fsencode(longest)) - 1) > 0:
            longest = longest / ("x" * (left if left < 200 else left - 100 if left < 300 else 150))
        self.assertEqual(len(os.fsencode(longest)), 489)
        for path in (f"{longest}x", self.place / "new" / "sub" / ("x" * 256), "/".join(["x" * 100] * 50)):
            self.assertRaises(GossiplogError, open_logs, path)
            self.assertEqual(self.names(), [])
        with closing(open_logs(longest)) as logs:
            logs.writer("default")
        self.assertEqual(salvage(longest).rows, 0)

    def test_a_link_to_a_long_path(self) -> None:
        """Counts as what it leads to."""
        deep = self.place / "/".join(["x" * 100] * 5)
        deep.mkdir(parents=True)
        (self.place / "short").symlink_to(deep)
        self.assertRaises(InvalidValueError, open_logs, self.place / "short")
        self.assertEqual(list(deep.iterdir()), [])

    def test_after_chdir(self) -> None:
        """A relative path is of the directory in which the store was opened."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.place)
        store = open_store("ann", reactor)
        os.chdir("/")
        self.assertEqual(store.path, str(self.place / "ann"))
        self.addCleanup(store.close)

    def test_in_the_place_of_a_directory(self) -> None:
        (self.place / "file").write_text("")
        for path in ("file", "file/x", "file/x/y"):
            error = self.assertRaises(StoreError, open_logs, self.place / path)
            self.assertIn(str(self.place / "file"), str(error))
        self.assertEqual(self.names(), ["file"])

    def test_inside_of_another_store(self) -> None:
        """That one would take it for a file of its own, and open no more."""
        with closing(open_logs(self.place / "ann")) as logs:
            logs.writer("default")
            logs.node_key()
        os.symlink("ann/seeds", self.place / "link")
        before = sorted(os.walk(self.place / "ann"))
        for path in ("ann/seeds/x", "ann/x", "ann/seeds/x/y", "link/x", "ann/../ann/seeds/x", "ann/seeds"):
            for opening in (open_logs, lambda path: open_store(path, reactor)):
                error = self.assertRaises(StoreError, opening, self.place / path)
                self.assertIn("store", str(error), path)
        self.assertEqual(sorted(os.walk(self.place / "ann")), before)
        (self.place / "beside" / "bob").mkdir(parents=True)
        for path in ("beside/ann", "beside/bob", "ann"):
            open_logs(self.place / path).close()

    def test_one_store_twice(self) -> None:
        """It is said at once, where two are needed; not after a wait for itself."""
        open_logs(self.place / "ann").close()
        os.symlink("ann", self.place / "link")
        for path, other in (
            ("ann", "ann"),
            ("ann", "link"),
            ("link", "ann"),
            ("ann/.", "ann"),
            ("new", "new"),
        ):
            where, there = self.place / path, self.place / other
            error = self.assertRaises(InvalidValueError, import_store, where, there, wait=600)
            self.assertIn("the store itself", str(error))
            with redirect_stderr(StringIO()) as said:
                self.assertEqual(cli.main(["import", "--store", str(where), "--wait=600", str(there)]), 1)
                donor = ["verify", "--repair", "--store", str(where), "--wait=600", "--from", str(there)]
                self.assertEqual(cli.main(donor), 1)
            self.assertEqual(
                said.getvalue().count("the store itself"), 1 if path == "new" else 2, said.getvalue()
            )
        self.assertFalse((self.place / "new").exists())


class OptionTests(SynchronousTestCase):
    """Every option that is a path."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)
        self.patch(os, "environ", {**os.environ, "HOME": str(self.home), "GOSSIPLOG_STORE": "~/s"})

    def test_command(self) -> None:
        """``~`` is the home, also in the environment."""
        parse = cli._parser().parse_args
        self.assertEqual(parse(["id"]).store, f"{self.home}/s")
        for arguments, name in (
            (["id", "--store=~/x"], "store"),
            (["verify", "--repair", "--from=~/x"], "donor"),
            (["import", "~/x"], "path"),
            (["forks", "--check=~/x"], "check"),
            (["forks", "--add=~/x"], "add"),
            (["simulate", "--save=~/x"], "save"),
            (["simulate", "--plot=~/x"], "plot"),
            (["simulate", "--scenario=~/x"], "scenario"),
        ):
            self.assertEqual(getattr(parse(arguments), name), f"{self.home}/x", arguments)

    def test_key_file(self) -> None:
        (self.home / "key").write_text("name:garden")
        (self.home / "key").chmod(0o600)
        self.assertEqual(said("@~/key"), "name:garden")
        self.assertRaises(InvalidValueError, said, "@~no-such-user/key")

    def test_twistd(self) -> None:
        options = Options()
        options.parseOptions(["--store=~/x", "--network=n"])
        self.assertEqual(options.store, f"{self.home}/x")
        for path in ("~no-such-user/x", "a\0b"):
            self.assertRaises(UsageError, Options().parseOptions, [f"--store={path}", "--network=n"])


class ProcessTests(ProcessTestCase):
    """The command in unusual surroundings: one line, never an internal error, nothing left behind."""

    def test_bytes_that_are_no_text(self) -> None:
        """In every locale, whatever standard error can encode."""
        bare = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        for number, more in enumerate(({}, {"LC_ALL": "POSIX"}, bare, {"PYTHONIOENCODING": "ascii:strict"})):
            env = environment(**more)
            for name in (f"{LATIN}{number}", f"café{number}"):
                self.run_gossiplog("init", "--store", name, env=env)
                self.run_gossiplog("append", "--store", name, "x", env=env)
                self.assertIn("all is well", self.run_gossiplog("verify", "--store", name, env=env))
                missing = self.gossiplog("log", "--store", f"{name}-not", env=env)
                self.assert_one_line(missing, 1, "no store at", "creates one")
        self.assertEqual(len(list(self.place.iterdir())), 8)

    def test_the_current_directory_is_gone(self) -> None:
        """It says so, of every verb and of twistd; a path from / on works."""
        self.run_gossiplog("init", "--store", "ann")
        run = GO_AWAY + "from gossiplog.app.cli import main; sys.exit(main(sys.argv[1:]))"
        for verb in (["init"], ["init", "--store", "x"], ["log"], ["run", "--network", "n"]):
            process = self.start(sys.executable, "-c", run, *verb)
            self.assert_one_line(process, 1, "the current directory is gone")
        process = self.start(sys.executable, "-c", run, "clock", "--store", self.place / "ann")
        self.assertEqual((process.finish(), process.err), (0, ""))

    def test_an_empty_path(self) -> None:
        """Is not the store that is meant when nothing is said, as a variable that is not set would have it."""
        self.run_gossiplog("init")
        for verb in (["append", "x"], ["init"], ["log", "--follow"]):
            self.assert_one_line(self.gossiplog(*verb, "--store", ""), 1, "a path is not empty")

    def test_what_to_type(self) -> None:
        """A message quotes a path as a shell takes it."""
        for name, words in (("a b", "--store 'a b' creates"), ("-x", "--store=-x creates")):
            self.assert_one_line(self.gossiplog("log", f"--store={name}"), 1, words)

    def test_a_name_with_a_newline(self) -> None:
        """Is one line when it is printed."""
        printed = self.run_gossiplog("init", "--store", "a\nb")
        self.assertEqual(printed.splitlines()[0], rf"store {self.place}/a\nb")
