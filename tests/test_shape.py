"""Ring 10: which way the code depends, how large modules are, and which names are public."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import gossiplog
import twisted.plugins
from gossiplog import errors, notices
from tests.documents import programs

PACKAGE = Path(gossiplog.__file__).parent
SOURCE = Path(os.environ.get("GOSSIPLOG_SOURCE", PACKAGE.parent))

PUBLIC = [
    "BackedUp",
    "Ban",
    "AuthorStatus",
    "CommitStatus",
    "DialStatus",
    "DiskStatus",
    "PeerStatus",
    "QueueStatus",
    "Status",
    "Trouble",
    "Batch",
    "Batches",
    "Change",
    "Changes",
    "Clock",
    "Compacted",
    "Cursor",
    "Dht",
    "Dialer",
    "Finder",
    "Flushed",
    "Found",
    "Joined",
    "Lan",
    "Way",
    "Entry",
    "Events",
    "Exported",
    "ForkProof",
    "Head",
    "Hit",
    "Imported",
    "LiveSearch",
    "LiveView",
    "Moved",
    "Network",
    "Node",
    "Notice",
    "Order",
    "Page",
    "PlacedEntry",
    "PortMapping",
    "Quota",
    "Quotas",
    "Reader",
    "Reference",
    "Result",
    "Room",
    "SSHAgent",
    "Signer",
    "Search",
    "Segment",
    "Store",
    "Ticket",
    "Usage",
    "View",
    "Writer",
    "format_author",
    "import_store",
    "open_store",
    "parse_author",
    "restore_store",
    "short_key",
]
"""Every name an application may import from ``gossiplog``, beside all errors and notices; adding one is a promise,
dropping one a break."""

PUBLIC_MODULES = {
    "",
    "aio",
    "errors",
    "notices",
    "app.finding",
    "app.foreground",
    "app.keyfile",
    "app.printing",
    "app.terminal",
    "blocking",
    "protocol",
    "testing",
}
"""Where applications, examples and documents import from."""

LARGEST_MODULE_LINES = 400

VALUES = {"addresses", "arguments", "back_off", "errors", "limits", "paths", "printable"}
BELOW = {
    "errors": {"printable"},
    "printable": {"limits"},
    "limits": set[str](),
    "paths": {"errors", "arguments"},
    "addresses": {"errors"},
    "arguments": {"errors"},
    "log": VALUES,
    "gossip": VALUES | {"log", "store.requests"},
    "wire": VALUES | {"log", "gossip.messages"},
    "store": VALUES | {"log"},
    "notices": VALUES | {"log", "gossip.quotas"},
    "views": VALUES | {"log", "store.directory", "store.folder", "store.owning_process"},
    "live": VALUES | {"log", "gossip", "wire.export", "store", "views", "notices"},
    "net": VALUES | {"log", "gossip", "wire", "store", "live", "notices"},
    "discovery": VALUES | {"log", "wire", "store.owning_process", "live", "net", "notices"},
}
"""What each layer may import besides itself; modules above ``net`` import anything but what is in FRONT."""

FRONT = {"app": {"testing"}, "testing": {"app"}}
"""What applications and people start, and who else may import it."""

BOTH = {"live.append_gate", "live.job_queue", "live.store_front", "live.store_work"}
"""What of a live store the simulator runs too."""

WITHOUT_TWISTED = set(BELOW) - {"live", "net", "discovery"} | {"testing"}
IN_MEMORY = "testing.network"
PURE = {"log", "gossip", "wire", "store"}
WAITING = {"store.lock", "store.owning_process", "store.ssh_agent"}
"""What waits for other processes, or, in a fork, for threads: no argument can do that."""

IMPURE = {"asyncio", "random", "secrets", "select", "selectors", "socket", "ssl", "time", "threading", "uuid"}


@cache
def modules() -> dict[str, ast.Module]:
    """Return the parsed modules by name, without ``gossiplog.``; the root package is ``""``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_bytes(), str(path))
    return found


def layer(name: str) -> str:
    """Return the first part of a module's name."""
    return name.partition(".")[0]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported, wherever it is; ``from a import b`` is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and module, without ``gossiplog.``, of the imports of our own modules."""
    for line, name in imports(tree):
        if layer(name) == "gossiplog":
            _, _, inner = name.partition(".")
            yield line, inner if inner in modules() else inner.rpartition(".")[0]


def at_import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: all that are not inside a function."""
    for statement in body:
        yield statement
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from at_import_time(getattr(statement, field, []))
            for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                yield from at_import_time(part.body)


def is_within(name: str, allowed: set[str]) -> bool:
    """Return whether a module is one of those named or inside one."""
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


class DirectionTests(SynchronousTestCase):
    """Imports point one way: log <- gossip, wire, store <- live <- net <- node <- app."""

    def report(self, offences: list[str]) -> None:
        """Fail with all offences at once."""
        self.assertEqual(offences, [], "\n" + "\n".join(offences))

    def test_imports_are_absolute(self) -> None:
        """A reader, and this test, can see from the line itself where a name comes from."""
        self.report(
            [
                f"{name}:{node.lineno} imports relatively"
                for name, tree in modules().items()
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.level
            ]
        )

    def test_layers_import_only_what_is_below(self) -> None:
        """A layer with an entry in BELOW imports itself and what the entry names."""
        self.report(
            [
                f"{name}:{line} imports {other or 'gossiplog'}"
                for name, tree in modules().items()
                if layer(name) in BELOW
                for line, other in own_imports(tree)
                if not is_within(other, BELOW[layer(name)] | {layer(name)})
            ]
        )

    def test_no_cycle_among_modules(self) -> None:
        """No module needs, over others, itself: not even for the sake of types, or late, within a function."""
        needed = {
            name: {other for _, other in own_imports(tree) if other in modules()} - {name}
            for name, tree in modules().items()
        }
        while needed:
            wanted = set().union(*needed.values())
            circling = {name: others & needed.keys() for name, others in needed.items() if name in wanted}
            circling = {name: others for name, others in circling.items() if others}
            if circling == needed:
                break
            needed = {name: others & circling.keys() for name, others in circling.items()}
        self.report([f"{name} needs {', '.join(sorted(others))}" for name, others in needed.items()])

    def test_nothing_imports_what_is_in_front(self) -> None:
        """``app`` and ``testing`` are entered from outside."""
        self.report(
            [
                f"{name}:{line} imports {other}"
                for name, tree in modules().items()
                for line, other in own_imports(tree)
                if layer(other) in FRONT
                and layer(name) != layer(other)
                and layer(name) not in FRONT[layer(other)]
            ]
        )

    def test_the_core_knows_no_twisted(self) -> None:
        """Twisted is in ``live`` and above, and in the network in memory of ``testing``."""
        self.report(
            [
                f"{name}:{line} imports {other}"
                for name, tree in modules().items()
                if (layer(name) in WITHOUT_TWISTED or name in BOTH) and not is_within(name, {IN_MEMORY})
                for line, other in imports(tree)
                if layer(other) == "twisted"
            ]
        )

    def test_the_core_has_no_clock_chance_or_socket(self) -> None:
        """Time and randomness come in as arguments; the type ``random.Random`` may be named."""
        self.report(
            [
                f"{name}:{line} imports {other}"
                for name, tree in modules().items()
                if layer(name) in PURE and name not in WAITING
                for line, other in imports(tree)
                if layer(other) in IMPURE and other != "random.Random"
            ]
        )

    def test_no_reactor_at_import_time(self) -> None:
        """Importing gossiplog never installs a reactor: it is always a parameter."""
        self.report(
            [
                f"{name}:{statement.lineno} imports the reactor"
                for name, tree in modules().items()
                for statement in at_import_time(tree.body)
                if isinstance(statement, (ast.Import, ast.ImportFrom))
                for _, other in imports(ast.Module([statement], []))
                if is_within(other, {"twisted.internet.reactor"})
            ]
        )


class PluginTests(SynchronousTestCase):
    """twistd imports every plugin there is, so ours must cost nothing."""

    def test_plugin_imports_only_twisted(self) -> None:
        """The plugin names ``gossiplog.app.tap`` in a string."""
        [path] = {
            found.resolve()
            for directory in twisted.plugins.__path__
            if (found := Path(directory, "gossiplog_plugin.py")).exists()
        }
        names = [name for _, name in imports(ast.parse(path.read_bytes()))]
        self.assertEqual(names, ["twisted.application.service.ServiceMaker"])

    def test_twisted_stays_twisted(self) -> None:
        """An ``__init__.py`` of ours under ``twisted/`` would hide Twisted itself."""
        if not (SOURCE / "setup.cfg").exists():
            raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")
        self.assertEqual(
            [str(path.relative_to(SOURCE)) for path in sorted((SOURCE / "twisted").rglob("*.py"))],
            [os.path.join("twisted", "plugins", "gossiplog_plugin.py")],
        )


class ModuleTests(SynchronousTestCase):
    """Modules are small, and each says what it is for."""

    def test_sizes(self) -> None:
        """No module is above LARGEST_MODULE_LINES; split it by what it is responsible for."""
        sizes = {path: len(path.read_bytes().splitlines()) for path in PACKAGE.rglob("*.py")}
        large = {str(path): lines for path, lines in sizes.items() if lines > LARGEST_MODULE_LINES}
        self.assertEqual(large, {})

    def test_docstrings(self) -> None:
        """Every module starts with a sentence."""
        bare = [name or "gossiplog" for name, tree in modules().items() if not ast.get_docstring(tree)]
        self.assertEqual(bare, [])

    def test_packages(self) -> None:
        """Every directory with modules is a package; tools disagree about those without ``__init__.py``."""
        directories = {path.parent for path in PACKAGE.rglob("*.py")}
        self.assertEqual([str(d) for d in directories if not (d / "__init__.py").exists()], [])

    def test_typed(self) -> None:
        """The types reach applications."""
        self.assertTrue((PACKAGE / "py.typed").exists())


class PublicNameTests(SynchronousTestCase):
    """What an application may rely on."""

    def test_documents_use_nothing_else(self) -> None:
        """Examples, and programs in documents, import from public addresses only."""
        offences = [
            f"{place}:{line} imports {name}"
            for place, source in programs(Path(__file__).resolve().parent.parent)
            for line, name in imports(ast.parse(source))
            if layer(name) == "gossiplog"
            and name.partition(".")[2] not in PUBLIC_MODULES
            and name.partition(".")[2].rpartition(".")[0] not in PUBLIC_MODULES
        ]
        self.assertEqual(offences, [], "\n" + "\n".join(offences))

    def test_names(self) -> None:
        """``gossiplog.__all__`` is the list in this file, and every error and notice."""
        told = [
            name
            for module in (errors, notices)
            for name, value in vars(module).items()
            if isinstance(value, type)
            and f"{value.__module__}.".startswith(f"{module.__name__}.")
            and not name.startswith("_")
        ]
        self.assertEqual(sorted(gossiplog.__all__), sorted(PUBLIC + told))
        self.assertEqual(len(set(gossiplog.__all__)), len(gossiplog.__all__))

    def test_names_exist(self) -> None:
        """Every name listed in an ``__all__`` is there."""
        for name, tree in modules().items():
            if any(isinstance(node, ast.Name) and node.id == "__all__" for node in ast.walk(tree)):
                module = import_module(f"gossiplog.{name}".rstrip("."))
                missing = [public for public in module.__all__ if not hasattr(module, public)]
                self.assertEqual(missing, [], name)

    def test_names_are_in_the_reference(self) -> None:
        """``docs/api.rst`` has each public name once: of itself, or with its whole module."""
        text = (Path(__file__).resolve().parent.parent / "docs" / "api.rst").read_text()
        listed = re.findall(r"^\.\. auto(?:class|function):: gossiplog\.(\w+)$", text, re.MULTILINE)
        whole = re.findall(r"^\.\. automodule:: gossiplog\.?([\w.]*)$", text, re.MULTILINE)
        [left_out] = re.findall(r":exclude-members: (\w+)$", text, re.MULTILINE)
        self.assertEqual(sorted(listed), sorted({*PUBLIC, left_out} - {"Notice"}))  # that is in notices
        self.assertEqual(sorted(whole), sorted(PUBLIC_MODULES - {"", "protocol"}))

    def test_plumbing_is_private(self) -> None:
        """What applications hold has no method and no attribute beside those that are meant for them."""
        offered = {
            "Store": "writer writers add_writer unlock protect recovered add_fork backup compact export import_ "
            "fork_proof view read heads entry "
            "timeline cursor save_cursor verify holes repair close damage path reactor clock forks copied "
            "interest notices",
            "Writer": "append append_many name author",
            "Reader": "batches close aclose cursor damages",
            "View": "name version encoding schema owned on_error order apply forked",
            "Search": "text name version encoding schema owned apply",
            "LiveView": "name version error progress ready query changes close",
            "LiveSearch": "find",
            "PortMapping": "announce look name start stop",
            "Dht": "announce give_up look name start stop",
            "Dialer": "dial stop endpoint stopped peer link looks_up",
            "Events": "close aclose",
            "Joined": "finding flush leave",
            "Node": "listen connect join connect_to found addresses forget peers caught_up progress follow unfollow "
            "block unblock quotas usage over_quota status reachable "
            "when_in_sync recover bans ban unban disconnect stop id agent mode network store reactor",
        }
        for name, words in offered.items():
            kind = getattr(gossiplog, name)
            module = modules()[kind.__module__.partition(".")[2]]
            [node] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name]
            set_here = {
                target.attr
                for target in ast.walk(node)
                if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
                if isinstance(target.value, ast.Name) and target.value.id == "self"
            }
            found = {each for each in {*vars(kind), *set_here} if not each.startswith("_")}
            self.assertEqual(sorted(found), sorted(words.split()), name)

    def test_names_are_documented(self) -> None:
        """Classes and functions among them have a docstring of their own."""
        values = {name: getattr(gossiplog, name) for name in gossiplog.__all__}
        self.assertEqual(
            [name for name, value in values.items() if callable(value) and not value.__doc__], []
        )
