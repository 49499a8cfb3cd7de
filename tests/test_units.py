"""Ring 6 and 8: services: what systemd is told, its units, the container, and what a start that fails says where."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog import limits
from gossiplog.app.supervisor import Supervisor
from gossiplog.app.tap import Options
from gossiplog.store.logs import open_logs
from tests.processes import DEADLINE_SECONDS, TWISTD, ProcessTestCase, environment

CONTRIB = Path(__file__).resolve().parent.parent / "contrib"
UNITS = CONTRIB / "systemd"
MOST_EXPOSED = 1.5
"""Of 10, as ``systemd-analyze security`` counts: what is left are connections, which a node is for."""


def notify_socket(place: Path) -> socket.socket:
    """Return what systemd listens with."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(place))
    sock.settimeout(DEADLINE_SECONDS)
    return sock


class SupervisorTests(SynchronousTestCase):
    """What systemd is told, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said = "1 peer"
        self.asked = 0
        path = f"/tmp/gossiplog-notify-{os.getpid()}"  # short: the path of a socket has at most 107 bytes
        self.sock = notify_socket(Path(path))
        self.addCleanup(os.unlink, path)
        self.addCleanup(self.sock.close)
        self.environment = {"NOTIFY_SOCKET": path}

    def status(self) -> str:
        """What the service says of itself."""
        self.asked += 1
        return self.said

    def supervisor(self, **more: str) -> Supervisor:
        """One with this environment."""
        return Supervisor(self.clock, self.status, {**self.environment, **more})

    def told(self) -> list[str]:
        """What came since."""
        self.sock.setblocking(False)
        lines: list[str] = []
        while True:
            try:
                lines += self.sock.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def test_ready_status_and_the_end(self) -> None:
        """Once ready, it says how it is when that changes, and that it stops."""
        supervisor = self.supervisor()
        supervisor.ready()
        self.assertEqual(self.told(), ["READY=1", "STATUS=1 peer"])
        self.clock.advance(limits.STATUS_SECONDS)
        self.assertEqual(self.told(), [])
        self.said = "2 peers"
        self.clock.advance(limits.STATUS_SECONDS)
        self.assertEqual(self.told(), ["STATUS=2 peers"])
        supervisor.stopping()
        self.assertEqual(self.told(), ["STOPPING=1", "STATUS=stopping"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        supervisor.stopping()
        supervisor.ready()  # told to stop before the reactor ran
        self.assertEqual(self.told(), [])

    def test_watchdog(self) -> None:
        """A sign of life twice in its time, as long as the reactor turns."""
        self.supervisor(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid())).ready()
        self.told()
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(self.told(), ["WATCHDOG=1"])

    def test_watchdog_of_another_process(self) -> None:
        """Is not ours; nor is one that says nothing that makes sense."""
        for more in (
            {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid() + 1)},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "-1"},
            {"WATCHDOG_USEC": "1", "WATCHDOG_PID": ""},
        ):
            supervisor = self.supervisor(**more)
            supervisor.ready()
            self.clock.advance(limits.STATUS_SECONDS)
            supervisor.stopping()
            self.assertNotIn("WATCHDOG=1", self.told())

    def test_nobody_asked(self) -> None:
        """Then nothing is done, and nobody is asked how it is."""
        self.environment = {}
        supervisor = self.supervisor(WATCHDOG_USEC="2000000")
        supervisor.ready()
        self.assertEqual((self.clock.getDelayedCalls(), self.asked), ([], 0))
        supervisor.stopping()

    def test_nobody_listens(self) -> None:
        """A socket that is gone, is full, is none, or cannot be: the node goes on."""
        for address in ("/nonexistent/socket", "@" + "x" * 300, "/" + "x" * 300, __file__, "@", "vsock:2:1"):
            supervisor = self.supervisor(NOTIFY_SOCKET=address)
            supervisor.ready()
            supervisor.stopping()
        supervisor = self.supervisor(WATCHDOG_USEC="2000000")
        supervisor.ready()
        for _ in range(1000):  # more than a socket takes that nobody reads
            self.clock.advance(1)

    def test_abstract_socket(self) -> None:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
            sock.bind(f"\0gossiplog-test-{os.getpid()}")
            sock.settimeout(DEADLINE_SECONDS)
            supervisor = self.supervisor(NOTIFY_SOCKET=f"@gossiplog-test-{os.getpid()}")
            supervisor.ready()
            supervisor.stopping()
            self.assertEqual(sock.recv(100), b"READY=1")


def setting(unit: Path, name: str) -> list[str]:
    """The values of one setting of a unit."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


class UnitTests(ProcessTestCase):
    """The units do what they say: their commands are run, as systemd would."""

    def setUp(self) -> None:
        super().setUp()
        network = self.place / "network"
        network.write_text("5f" * 32)
        network.chmod(0o400)

    def start_unit(self, unit: str, *, file: Path | None = None, **options: Any) -> tuple[Any, socket.socket]:
        """Start the command of a unit; return its process and systemd's end of its socket."""
        (command,) = filter(None, setting(UNITS / unit, "ExecStart"))
        command = command.replace("%S", str(self.place)).replace("%d", str(self.place))
        command = command.replace("/etc/gossiplog/host.toml", str(file))
        program, *arguments = command.split()
        self.assertEqual(program, "/opt/gossiplog/bin/twistd")
        arguments = [re.sub("^tcp6:4000$", "tcp:0:interface=127.0.0.1", each) for each in arguments]
        path = f"/tmp/gossiplog-unit-{os.getpid()}-{self.id().rpartition('.')[2]}"
        sock = notify_socket(Path(path))
        self.addCleanup(os.unlink, path)
        self.addCleanup(sock.close)
        (self.place / "gossiplog").mkdir(mode=0o700)
        shell = 'export LISTEN_PID=$$; exec "$@"'  # of a process that exec keeps
        twistd = [sys.executable, "-c", TWISTD, *arguments]
        env = environment(NOTIFY_SOCKET=path, WATCHDOG_USEC="30000000", **options.pop("env", {}))
        return self.start("sh", "-c", shell, "sh", *twistd, env=env, **options), sock

    def test_service(self) -> None:
        """It is ready when it is, says how it is, ends as the unit expects; all but that is not its own."""
        process, sock = self.start_unit("gossiplog.service")
        self.assertEqual(sock.recv(4096), b"READY=1")
        self.assertEqual(
            sock.recv(4096).split(b"\n"),
            [b"STATUS=0 peers, 0 authors, all 0 known entries held", b"WATCHDOG=1"],
        )
        self.assertEqual(len(process.ready()["listening"]), 1)
        process.terminate()
        self.assertIn(b"STOPPING=1", sock.recv(4096))
        self.assertEqual(setting(UNITS / "gossiplog.service", "SuccessExitStatus"), ["143"])
        self.assertIn(process.popen.returncode, (-15, 143))

    def test_many_networks(self) -> None:
        """The unit for many nodes says when it is ready, when it reads its file again, and when that is done."""
        file = self.place / "host.toml"
        file.write_text(f'[network.a]\nstore = "a"\nnetwork = "{"5f" * 32}"\n')
        file.chmod(0o600)
        process, sock = self.start_unit("gossiplog-host.service", file=file)
        self.assertEqual(sock.recv(4096), b"READY=1")
        self.assertIn(b"STATUS=1 of 1 networks run, 0 peers", sock.recv(4096))
        file.write_text("[network")
        process.popen.send_signal(signal.SIGHUP)
        said = sock.recv(4096).split(b"\n")
        self.assertEqual(said[0], b"RELOADING=1")
        self.assertRegex(said[1], rb"\AMONOTONIC_USEC=[1-9][0-9]*\Z")
        self.assertEqual(sock.recv(4096), b"READY=1")
        process.terminate()

    def test_the_same_rights(self) -> None:
        """The unit for many nodes has no more of them than that for one."""
        one, many = ((UNITS / f"{name}.service").read_text() for name in ("gossiplog", "gossiplog-host"))
        begins = "# It needs connections"
        self.assertEqual(one[one.index(begins) :], many[many.index(begins) :])
        self.assertEqual(setting(UNITS / "gossiplog-host.service", "Type"), ["notify-reload"])

    def test_socket_activation(self) -> None:
        """The port is systemd's: who connects before the node runs is answered by it."""
        name = setting(UNITS / "gossiplog.socket", "FileDescriptorName")[0]
        with socket.socket(socket.AF_INET6) as port, socket.socket(socket.AF_INET6) as early:
            port.bind(("::1", 0))
            port.listen()
            early.connect(port.getsockname())
            early.sendall(b"\x00" * 64)
            early.settimeout(DEADLINE_SECONDS)

            def be_systemd() -> None:
                os.dup2(port.fileno(), 3)

            more = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
            process, sock = self.start_unit(
                "socket-activation.conf", env=more, pass_fds=(3, port.fileno()), preexec_fn=be_systemd
            )
            self.assertEqual(sock.recv(4096), b"READY=1")
            self.assertIn(str(port.getsockname()[1]), process.ready()["listening"][0])
            try:
                self.assertEqual(early.recv(1), b"")  # it is no member, and the node closes
            except ConnectionResetError:
                pass
            process.terminate()

    def test_hardening(self) -> None:
        """As ``systemd-analyze security`` sees it."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("needs systemd-analyze")
        said = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", str(UNITS / "gossiplog.service")],
            capture_output=True,
            text=True,
        )
        if "unrecognized option" in said.stderr:
            raise SkipTest("needs systemd 250")
        found = re.search(r"Overall exposure level for gossiplog.service: ([0-9.]+)", said.stdout)
        assert found is not None, said
        self.assertLessEqual(float(found[1]), MOST_EXPOSED)

    def test_the_network_is_on_no_command_line(self) -> None:
        """And in no environment."""
        for unit in ("gossiplog.service", "socket-activation.conf"):
            self.assertIn("--network @%d/network", setting(UNITS / unit, "ExecStart")[-1])
            self.assertNotIn("Environment", (UNITS / unit).read_text())
        self.assertEqual(
            setting(UNITS / "gossiplog.service", "LoadCredential"), ["network:/etc/gossiplog/network"]
        )

    def test_container(self) -> None:
        """What it runs is understood, by nobody special, and its store is in the volume."""
        text = (CONTRIB / "container" / "Containerfile").read_text()
        entry, command = (
            json.loads(re.findall(rf"^{name} (.*)$", text, re.M)[0]) for name in ("ENTRYPOINT", "CMD")
        )
        self.assertEqual(entry[:4], ["twistd", "--nodaemon", "--pidfile=", "gossiplog"])
        self.patch(os, "environ", {**os.environ, "GOSSIPLOG_NETWORK": f"@{self.place / 'network'}"})
        options = Options()
        options.parseOptions([*entry[4:], *command])
        volume = re.findall(r"^VOLUME (.*)$", text, re.M)[0]
        self.assertEqual(Path(options.store).parent, Path(volume))
        self.assertIn(f"GOSSIPLOG_STORE={options.store}", text)
        self.assertRegex(text, r"(?m)^USER gossiplog$")


class DaemonTests(ProcessTestCase):
    """A twistd in the background tells who started it, on standard error and by its status, why it does not start."""

    def fails(self, *arguments: str, words: str, daemon: bool = True) -> None:
        """Both ways, with one line of ours and no traceback."""
        process = self.twistd(*([] if daemon else ["--nodaemon"]), *arguments)
        self.assertEqual(process.finish(), 1, process.command)
        said = process.out + process.err
        self.assertNotIn("Traceback", said)
        self.assertIn(words, said)

    def test_store_in_use(self) -> None:
        """However long its path is."""
        store = self.place / ("long" * 30)
        rest = ("gossiplog", "--store", str(store), "--network", "n", "--wait", "0")
        with closing(open_logs(store)):
            for daemon in (True, False):
                self.fails(
                    "--logfile=log",
                    *rest,
                    daemon=daemon,
                    words=f"gossiplog: store {store} is in use by process",
                )

    def test_port_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            listen = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            rest = ("gossiplog", "--store", "ann", "--network", "n", "--listen", listen)
            for daemon in (True, False):
                self.fails("--logfile=log", *rest, daemon=daemon, words="Address already in use")

    def test_options(self) -> None:
        """Its own, and those of twistd that it would fail on in the background."""
        node = ("gossiplog", "--store", "ann", "--network", "n")
        (self.place / "file").write_text("")
        here = os.getcwd()
        os.chdir(self.place)
        self.addCleanup(os.chdir, here)
        for arguments, words in (
            ((*node, "--no-such-thing"), "no-such-thing"),
            ((*node, "--listen", "nonsense"), "nonsense"),
            ((*node, "--metrics", "nonsense"), "nonsense"),
            ((*node, "--web", "tcp:0", "--web-host", "a b"), "a b"),
            (("gossiplog", "--store", "ann"), "--network is needed"),
            (("--logfile=gone/log", *node), "--logfile gone/log"),
            (("--logfile=file/log", *node), "--logfile file/log"),
            (("--pidfile=gone/pid", *node), "--pidfile gone/pid"),
            (("--rundir=gone", *node), "--rundir gone"),
        ):
            error = self.assertRaises(UsageError, ServerOptions().parseOptions, arguments)
            self.assertIn(words, str(error))
        self.fails("--logfile=gone/log", *node, words="--logfile gone/log")
        self.assertFalse((self.place / "ann").exists())
