"""One party of a soak: a store, and the process that has it.

Responsible for: starting and ending its process, what can be done to either, hearing what an embedded node says.
Must not know: when what is done.
Invariant: what was acknowledged is in the record, which is outside of every store.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from gossiplog import Quota, parse_author
from gossiplog.app.run_options import QUOTAS
from tests.chaos.embedded import NETWORK
from tests.processes import TWISTD, environment

DISK_BYTES: Final = 512 << 20
INODES: Final = 300
EAT_SECONDS: Final = 0.001
SPARE_BYTES: Final = 48 << 10
"""What a disk that is getting full has left."""
NO_RESERVE: Final = "Could not reserve EMFILE recovery file descriptor."
"""Twisted says so, with a traceback, where no descriptor is left."""
END_SECONDS: Final = 150.0
"""Of which, on a machine that does many other things, a minute may go by before the program has begun."""
TELL_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 60.0

FAKETIME: Final = next(
    (
        path
        for path in (
            os.environ.get("FAKETIME_LIBRARY", ""),
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
            "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        )
        if path and os.path.exists(path)
    ),
    "",
)


class Record:
    """I know what was acknowledged, by author and seq, and what may be gone since: what was lost with its disk."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, int], str] = {}
        self.doubtful: set[tuple[str, int]] = set()
        self.findings: list[str] = []
        self._lock = threading.Lock()

    def acknowledged(self, author: str, seq: int, name: str) -> None:
        """Somebody was told that this is on disk."""
        with self._lock:
            before = self.names.get((author, seq))
            if before is not None and (author, seq) not in self.doubtful:
                self.found(f"{author[:8]} {seq} was acknowledged twice: {before} and {name}")
            self.doubtful.discard((author, seq))
            self.names[author, seq] = name

    def doubt(self, author: str) -> None:
        """The disk with this author's log was changed by somebody else than us."""
        with self._lock:
            self.doubtful.update(key for key in self.names if key[0] == author)

    def last(self, author: str) -> int:
        """Return the last seq of an author that was acknowledged."""
        with self._lock:
            return max((seq for one, seq in self.names if one == author), default=0)

    def found(self, words: str) -> None:
        """Something is not as it must be."""
        self.findings.append(words)
        print(f"FOUND: {words}", flush=True)


class Party:
    """I am one party."""

    def __init__(
        self, number: int, kind: str, place: Path, port: int, peers: list[int], days: int, record: Record
    ) -> None:
        self.number, self.kind, self.port, self.peers, self.record = number, kind, port, peers, record
        self.name = f"p{number}"
        self.place = place / self.name
        self.place.mkdir(parents=True)
        self.mounted = os.geteuid() == 0 and self._mount(f"size={DISK_BYTES},nr_inodes={INODES}")
        self.store = self.place / "store"
        self.backup = place / f"{self.name}-backup"
        self.log = place / f"{self.name}.log"
        self.environment = environment()
        if days and FAKETIME:
            more = {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{days:+}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            self.environment |= more
        self.quotas: dict[str, float] = {}
        self.authors: list[str] = []
        self.lives = self.commands = 0
        self.suspicious = self.given_up = self.noticed = False
        self.process: subprocess.Popen[bytes] | None = None
        self._eats = False
        self._eater: threading.Thread | None = None
        self.run("init")

    # -- its process

    def start(self) -> None:
        """Begin to live, with the quotas that were set."""
        self.lives += 1
        python, port = sys.executable, str(self.port)
        address = f"tcp:{port}:interface=127.0.0.1"
        peers = [f"--peer=tcp:127.0.0.1:{peer}" for peer in self.peers]
        options = [
            "--store",
            str(self.store),
            "--network",
            NETWORK,
            "--wait",
            "20",
            "--listen",
            address,
            *peers,
        ]
        options += [f"{QUOTAS[Quota(name)].name}={value:g}" for name, value in self.quotas.items()]
        command = {
            "run": [python, "-m", "gossiplog.app.cli", "run", *options],
            "twistd": [python, "-c", TWISTD, "--nodaemon", "--pidfile=", "gossiplog", *options],
        }.get(self.kind) or [
            *(python, "-m", "tests.chaos.embedded", str(self.store), f"{self.name}.{self.lives}", port),
            *(json.dumps(self.quotas), *map(str, self.peers)),
        ]
        embedded = self.kind == "embedded"
        with open(self.log, "ab") as log:
            log.write(f"-- life {self.lives}\n".encode())
            self.process = subprocess.Popen(
                command,
                cwd=Path(__file__).resolve().parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if embedded else log,
                stderr=log,
                env=self.environment,
            )
        if embedded:
            threading.Thread(target=self._hear, args=(self.process,), daemon=True).start()

    def tell(self, line: str) -> None:
        """Say something to an embedded node that lives."""
        if self.kind == "embedded" and self.process is not None and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()

    def kill(self) -> None:
        """End with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self._gone()

    def end(self) -> None:
        """End in order."""
        if self.process is None:
            return
        if self.kind == "embedded" and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        else:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.record.found(f"{self.name} ({self.kind}) did not end within {END_SECONDS:g} s")
            if self.kind == "embedded":
                self.process.send_signal(signal.SIGUSR1)
                self.process.send_signal(signal.SIGUSR2)
                time.sleep(TELL_SECONDS)
            self.process.kill()
        self._gone()

    def signal(self, number: int) -> None:
        """Stop it or let it go on."""
        if self.process is not None:
            self.process.send_signal(number)

    @property
    def died(self) -> bool:
        """Whether it ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def _gone(self) -> None:
        assert self.process is not None
        self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        self.process = None

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout, open(self.log, "ab") as log:
            for line in process.stdout:
                words = line.decode(errors="replace").split()
                if not line.endswith(b"\n"):
                    break
                if words[0] == "ack":
                    self.record.acknowledged(words[1], int(words[2]), words[3])
                    continue
                log.write(line)
                log.flush()
                if words[0] == "begun":
                    self._begun(words[1], int(words[2]), " ".join(words[3:]))

    def _begun(self, author: str, seq: int, copied: str) -> None:
        self._writes(author)
        last = self.record.last(author)
        self.noticed = self.noticed or copied != "-"
        if seq < last and not self.noticed and not self.given_up:
            self.record.found(f"{self.name} lost {seq + 1} to {last} of {author[:8]} and did not notice")

    def _writes(self, author: str) -> None:
        if author not in self.authors:
            self.authors.append(author)

    @property
    def author(self) -> str:
        """Who writes here, and most of it."""
        return self.authors[0] if self.authors else ""

    def doubt(self) -> None:
        """What was acknowledged may be gone: the store has to notice it."""
        self.suspicious, self.noticed = True, False
        for author in self.authors:
            self.record.doubt(author)

    def check_log(self) -> None:
        """Nothing that it wrote is about an error of ours."""
        before = ""
        wrong = []
        for line in self.log.read_text(errors="replace").splitlines():
            is_ours = NO_RESERVE not in before + line
            before = line
            is_error = (
                line.startswith(("Traceback", "Unhandled")) or "internal error" in line or "critical" in line
            )
            if is_error and is_ours:
                wrong.append(line)
        if wrong:
            more = f" and {len(wrong) - 1} more such" if wrong[1:] else ""
            self.record.found(f"{self.name} wrote {wrong[0][:200]}{more}; see {self.log}")

    # -- its store, while nobody has it

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """Run a command on the store; a failure that is not one line is a finding."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "gossiplog.app.cli",
                arguments[0],
                "--store",
                str(self.store),
                *arguments[1:],
            ],
            input=typed,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS * 2,
            env=self.environment,
            cwd=self.place,
        )
        with open(self.log, "a") as log:
            log.write(f"-- {' '.join(arguments)}: {done.returncode} {done.stderr}{done.stdout[:2000]}\n")
        if "internal error" in done.stderr or "Traceback" in done.stderr or done.returncode not in (0, 1, 3):
            self.record.found(f"{self.name} {arguments}: {done.returncode} {done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def command(self, count: int) -> None:
        """Append so many entries by a command."""
        self.commands += 1
        names = [f"{self.name}.c{self.commands}.{number}" for number in range(count)]
        _, out, _ = self.run("append", "--json", typed="".join(f"{name} x\n" for name in names))
        for name, line in zip(names, out.splitlines(), strict=False):
            about = json.loads(line)
            author = self._bytes_of(about["author"])
            self._writes(author)
            self.record.acknowledged(author, about["seq"], name)

    def keep(self) -> None:
        """Keep a copy of the store."""
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.store, self.backup)

    def put_back(self) -> None:
        """Put the copy in the place of the store."""
        if self.backup.exists():
            self.doubt()
            aside = self.store.rename(self.place / "aside")
            shutil.copytree(self.backup, self.store)
            shutil.rmtree(aside)

    def flip(self, suffix: str, random: Random) -> None:
        """Change one bit of the database, behind its first page, or of its write-ahead log."""
        file = Path(f"{self.store / 'log.sqlite'}{suffix}")
        least = 32 if suffix else 16_384
        size = file.stat().st_size if file.exists() else 0
        if size > least:
            self.doubt()
            at = random.randrange(least, size)
            with open(file, "r+b") as stream:
                stream.seek(at)
                byte = stream.read(1)[0]
                stream.seek(at)
                stream.write(bytes([byte ^ 1 << random.randrange(8)]))
            with open(self.log, "a") as log:
                log.write(f"-- flipped byte {at} of {file.name}, of {size}\n")

    def mend(self) -> None:
        """Look whether the store is damaged, and mend it if it is."""
        if self.run("verify")[0] == 3:
            self.run("verify", "--repair")

    # -- its surroundings

    def limit_disk(self, inodes: bool) -> None:
        """Leave (almost) nothing."""
        if self.mounted and inodes:
            self._eat_inodes()
        elif self.mounted:
            found = os.statvfs(self.place)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            self._mount(f"remount,size={used + SPARE_BYTES}")

    def _eat_inodes(self) -> None:
        """Take what inodes there are; and each that is given back, when a journal goes, before another file has it."""
        (self.place / "eaten").mkdir(exist_ok=True)
        self._eats = True

        def eat() -> None:
            number = 0
            while self._eats:
                try:
                    os.close(os.open(self.place / "eaten" / str(number), os.O_CREAT | os.O_WRONLY))
                    number += 1
                except OSError:
                    time.sleep(EAT_SECONDS)

        self._eater = threading.Thread(target=eat)
        self._eater.start()

    def limit_descriptors(self) -> None:
        """Let the process open nothing more, once it has its store, whatever it closes."""
        if self.process is not None and self._has_store():
            with suppress(OSError, ValueError):
                pid = self.process.pid
                hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))

    def free(self) -> None:
        """Take all limits back."""
        if self._eater is not None:
            self._eats = False
            self._eater.join()
            self._eater = None
            shutil.rmtree(self.place / "eaten")
        if self.mounted:
            self._mount(f"remount,size={DISK_BYTES},nr_inodes={INODES}")
        if self.process is not None:
            with suppress(OSError, ValueError):
                hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)[1]
                resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (hard, hard))

    def _has_store(self) -> bool:
        assert self.process is not None
        with suppress(OSError):
            files = Path(f"/proc/{self.process.pid}/fd")
            return any(os.readlink(file).endswith("/log.sqlite") for file in files.iterdir())
        return False

    def reader(self) -> Any:
        """Be another program that reads the database."""
        connection = sqlite3.connect(self.store / "log.sqlite", timeout=0, isolation_level=None)
        with suppress(sqlite3.Error):
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM authors").fetchone()
        return connection

    def descriptors(self) -> int:
        """How many the process has open."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def unmount(self) -> None:
        """Give the disk back."""
        if self.mounted:
            subprocess.run(["umount", "-l", self.place], check=False)

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        return subprocess.run(command, capture_output=True).returncode == 0

    @staticmethod
    def _bytes_of(author: str) -> str:
        return parse_author(author).hex()
