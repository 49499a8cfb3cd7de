"""Ring 8: a store, a node and what they hold in a child by fork; as real processes."""

from __future__ import annotations

import shutil
import sys
from contextlib import closing

from gossiplog.store.logs import open_logs
from tests.processes import Process, ProcessTestCase

LOGS = """
import atexit, gc, multiprocessing, os, signal, subprocess, sys, threading
from contextlib import closing, suppress
from gossiplog.errors import StoreError, StoreInheritedError
from gossiplog.log.body import encode_body
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append

def append(logs, payload=b"x"):
    [done] = logs.process([Append(logs.writer("ann").author, [encode_body(1, payload)])]).results
    return done.first

def refused(call):
    try:
        call()
    except StoreInheritedError as error:
        assert "spawn" in str(error), error
        return True
    return False

def child(work):
    "Run work in a child, which ends as work does; return its status."
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os._exit(0 if work() in (None, True) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

logs = open_logs("store")
for _ in range(5):
    append(logs)
"""

END = """
for _ in range(5):
    append(logs)
logs.close()
with closing(open_logs("store")) as logs:
    report = logs.verify()
    print(report.ok, logs.clock.total(), append(logs))
"""

LEAVING = {
    "close": "logs.close(); os._exit(0)",
    "exit": "sys.exit()",
    "exit after close": "logs.close(); sys.exit()",
    "collected": "del logs; gc.collect(); os._exit(0)",
    "collected, and exit": "del logs; gc.collect(); sys.exit()",
    "an error": "1 / 0",
    "at exit": "atexit.register(logs.close); sys.exit()",
    "in a with block": """
    with closing(logs):
        with suppress(StoreError):
            append(logs)
        sys.exit()
""",
    "a grandchild": "os.fork() or os.fork(); logs.close(); del logs; gc.collect(); sys.exit()",
}
"""What a child may do last."""

STORE = """
import gc, os, sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from gossiplog import Node, Search, StoreInheritedError, open_store
from gossiplog.app.foreground import foreground

async def main(reactor):
    store = open_store("store", reactor)
    writer = await store.writer()
    await writer.append(b"1")
    node = Node(reactor, store, network="here")
    address = await node.listen("tcp:0:interface=127.0.0.1")
    dialer, joined = node.connect(address), node.join()
    reader, news, events = store.read(), store.read(live=True), node.events()
    gathering, found = store.read().batches(10), await store.view(Search(str))
    await found.ready()
    id = bytes(32)
    calls = {
        "writer": lambda: store.writer("new"),
        "known writer": lambda: store.writer(),
        "append": lambda: writer.append(b"2"),
        "append_many": lambda: writer.append_many([b"2"]),
        "append_many of none": lambda: writer.append_many([]),
        "recovered": store.recovered,
        "add_writer": lambda: store.add_writer(id),
        "unlock": lambda: store.unlock("x"),
        "protect": lambda: store.protect("x"),
        "add_fork": lambda: store.add_fork(None),
        "fork_proof": lambda: store.fork_proof(id),
        "read": store.read,
        "entry": lambda: store.entry(writer.author, 1),
        "heads": store.heads,
        "timeline": store.timeline,
        "batches": lambda: gathering.__anext__().send(None),
        "view": lambda: store.view(Search(str, name="another")),
        "find": lambda: found.find("word"),
        "query": lambda: found.query("SELECT 1"),
        "ready": found.ready,
        "changes": lambda: found.changes().__anext__().send(None),
        "cursor": lambda: store.cursor("c"),
        "save_cursor": lambda: store.save_cursor("c", None),
        "backup": lambda: store.backup("x"),
        "compact": store.compact,
        "export": lambda: store.export("x"),
        "import_": lambda: store.import_("x"),
        "verify": store.verify,
        "holes": store.holes,
        "repair": store.repair,
        "writers": store.writers,
        "next": lambda: reader.__anext__().send(None),
        "news": lambda: news.__anext__().send(None),
        "thread.write": lambda: store._core.thread.write(None, print),
        "thread.hear": lambda: store._core.thread.hear(None, print),
        "thread.call": lambda: store._core.thread.call(print, print),
        "thread.beside": lambda: store._core.thread.beside(print),
        "thread.now": lambda: store._core.thread.now(print),
        "Node": lambda: Node(reactor, store, network="here"),
        "listen": lambda: node.listen("tcp:0"),
        "connect": lambda: node.connect(address),
        "connect_to": lambda: node.connect_to(id),
        "join": node.join,
        "forget": lambda: node.forget(address),
        "flush": joined.flush,
        "leave": joined.leave,
        "follow": lambda: node.follow(id),
        "unfollow": lambda: node.unfollow(id),
        "block": lambda: node.block(id),
        "unblock": lambda: node.unblock(id),
        "subscribe": lambda: node.subscribe(print),
        "when": node.when,
        "events": node.events,
        "when_in_sync": lambda: node.when_in_sync(None),
        "recover": lambda: node.recover(None),
        "unban": lambda: node.unban(id),
        "ban": lambda: node.ban(id),
        "disconnect": lambda: node.disconnect(id),
        "status": node.status,
        "dial": dialer.dial,
    }
    known = {name.split()[0].rpartition(".")[2] for name in calls}
    quiet = {"close", "stop"}  # these do nothing
    internal = {"together", "end", "views"}
    for thing in (store, node, writer, found, joined, store._core.thread):
        methods = {name for name in dir(type(thing)) if name[0] != "_" and callable(getattr(type(thing), name))}
        assert methods <= known | quiet | internal, methods - known - quiet - internal
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        for name, call in calls.items():
            try:
                call()
            except StoreInheritedError:
                continue
            except BaseException as error:
                print(name, repr(error), flush=True)
            else:
                print(name, "was done", flush=True)
        dialer.stop()
        assert node.stop().called and store.close().called
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    assert await writer.append(b"2") == 2
    probe = Node(reactor, open_store("probe", reactor), network="here")
    probe.connect(address)
    from gossiplog import PeerUp
    up = await probe.when(PeerUp)
    await probe.when_in_sync(up.peer)
    await probe.store.close()
    await store.close()
    print("well")

react(foreground(main))
"""


class ForkTests(ProcessTestCase):
    """Programs that fork with an open store."""

    def run_program(self, program: str, status: int = 0) -> str:
        """Run it to its end."""
        process = self.start(sys.executable, "-c", program)
        self.assertEqual(process.finish(), status, process.err)
        return process.out

    def run_logs(self, program: str) -> str:
        """Run a program on a store with five entries."""
        self.run_program("import shutil; shutil.rmtree('store', ignore_errors=True)")
        return self.run_program(LOGS + program + END)

    def test_workers(self) -> None:
        """Three of them, and what they would append; what was acknowledged is there, and nothing else."""
        workers = """
for _ in range(3):
    assert child(lambda: all([refused(lambda: append(logs)) for _ in range(50)])) == 0
"""
        self.assertEqual(self.run_logs(workers), "True 10 11\n")

    def test_every_method_of_logs(self) -> None:
        methods = """
arguments = {"writer": ("ann",), "bind_network": (bytes(32),), "process": ([],), "segments": (bytes(32), 1, 1),
    "around": (bytes(32), 1, 1), "overtaken": (bytes(32), 1),
    "fork_proof": (bytes(32),), "examine": (None,), "holed_after": (None, 1), "meta": ("x",), "cursor": ("x",),
    "merge_some": (1,), "look_at": ([],), "import_key": ("x", None)}
methods = [name for name in dir(type(logs)) if name[0] != "_" and callable(getattr(type(logs), name))]

def all_refused():
    calls = {name: getattr(logs, name) for name in methods if name != "close"}
    done = [name for name in calls if not refused(lambda: calls[name](*arguments.get(name, ())))]
    if done:
        print(done, flush=True)
    return not done

assert child(all_refused) == 0
assert child(lambda: refused(lambda: list(logs._mine.check()))) == 0
"""
        self.assertEqual(self.run_logs(methods), "True 10 11\n")

    def test_every_way_to_leave(self) -> None:
        """Whatever a child does last, the parent's next entries are on disk, also if it is killed then."""
        for name, leave in LEAVING.items():
            with self.subTest(name):
                forked = f"pid = os.fork()\nif not pid:\n    {leave.lstrip()}\nos.waitpid(pid, 0)"
                self.assertEqual(self.run_logs(forked), "True 10 11\n", name)
                shutil.rmtree(self.place / "store")
                killed = (
                    f"{forked}\nfor _ in range(5):\n    append(logs)\nos.kill(os.getpid(), signal.SIGKILL)"
                )
                self.run_program(LOGS + killed, -9)
                with closing(open_logs(self.place / "store")) as logs:
                    self.assertEqual((logs.verify().ok, logs.clock.total()), (True, 10), name)

    def test_in_the_middle_of_a_bulk(self) -> None:
        """While much comes in, the journal is another one."""
        bulk = """
for _ in range(4):
    append(logs, bytes(200_000))
assert os.path.getsize("store/log.sqlite-journal")
pid = os.fork()
pid or (logs.close(), globals().pop("logs"), gc.collect(), sys.exit())
os.waitpid(pid, 0)
"""
        self.assertEqual(self.run_logs(bulk), "True 14 15\n")

    def test_other_ways_to_fork(self) -> None:
        for name, program in {
            "multiprocessing": """
worker = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(not refused(lambda: append(logs))))
worker.start()
worker.join()
assert worker.exitcode == 0
""",
            "pool": """
def in_pool(_):
    return refused(lambda: append(logs))

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(in_pool, range(4)) == [True] * 4
""",
            "a thread": """
thread = threading.Thread(target=lambda: child(lambda: (logs.close(), gc.collect()) and None))
thread.start()
thread.join()
""",
            "what runs before exec": """
subprocess.run([sys.executable, "-c", ""], preexec_fn=logs.close, check=True)
""",
        }.items():
            with self.subTest(name):
                self.assertEqual(self.run_logs(program), "True 10 11\n", name)

    def test_a_child_opens_the_store(self) -> None:
        """When the parent closed it; although SQLite in there takes the file for locked."""
        program = """
ready, go = os.pipe(), os.pipe()
pid = os.fork()
if not pid:
    os.close(go[1])
    os.read(go[0], 1)
    with closing(open_logs("store")) as mine:
        assert mine.copied == "" and append(mine) == 6
    sys.exit()
try:
    os.close(go[0])
    logs.close()
    os.close(go[1])
finally:
    assert os.waitpid(pid, 0)[1] == 0
logs = open_logs("store")
"""
        self.assertEqual(self.run_logs(program), "True 11 12\n")

    def test_a_child_lives_on(self) -> None:
        """With the store's lock neither when the parent closed, nor when it was killed."""
        forked = """
def fds():
    for fd in range(3, 64):
        with suppress(OSError):
            os.fstat(fd)
            yield fd

is_up, up = os.pipe()
pid = os.fork() if {how} else subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=fds()).pid
if not pid:
    os.write(up, b"1")
    os.read(0, 1)
    os._exit(0)
{how} and os.read(is_up, 1)
{end}
print("closed", flush=True)
os.read(0, 1)
"""
        for how, end in (
            (1, "logs.close()"),
            (1, "os.kill(os.getpid(), signal.SIGKILL)"),
            (0, "logs.close()"),
        ):
            with self.subTest(end):
                process = self.start(sys.executable, "-c", LOGS + forked.format(how=how, end=end))
                if "kill" in end:
                    self.wait_for_signal(process)
                else:
                    process.wait_for("closed")
                open_logs(self.place / "store").close()
                process.end_input()
                process.finish()

    def wait_for_signal(self, process: Process) -> None:
        """Wait for a process that leaves a child with its pipes."""
        self.assertEqual(process.popen.wait(process.patience), -9)

    def test_a_fork_waits_for_sqlite(self) -> None:
        """A thread that is in there would never come out of it in the child."""
        program = """
inside, go = threading.Event(), threading.Event()
left = False

def read():
    global left
    with logs._mine._reading():
        inside.set()
        go.wait()
        left = True

thread = threading.Thread(target=read)
thread.start()
inside.wait()
os.register_at_fork(before=go.set)  # the last one is called first
assert child(lambda: left) == 0
thread.join()
"""
        self.assertEqual(self.run_logs(program), "True 10 11\n")

    def test_every_method_of_store_and_node(self) -> None:
        """In the child, which must not go on with the reactor; the parent's node goes on."""
        self.assertEqual(self.run_program(STORE), "well\n")

    def test_a_store_in_memory(self) -> None:
        """Two processes with one writer would sign two logs."""
        program = """
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
memory = Logs(MemoryBackend("memory"))
author = memory.writer("ann").author
request = Append(author, [encode_body(1, b"x")])
memory.process([request])
assert child(lambda: refused(lambda: memory.process([request]))) == 0
"""
        self.assertEqual(self.run_logs(program), "True 10 11\n")
