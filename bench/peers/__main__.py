"""`python -m bench.peers install [PEER...]`, `... run PEER WORKLOAD`, `... list`."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.peers import HERE, PEERS, WORKLOADS, NotInstalled, PeerFailed, installed, run


def install(peers: list[str]) -> None:
    """Install the npm packages of these peers, each into its own ignored folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("npm is not on the path: install node 20 or later")
    for peer in peers:
        print(f"installing {peer}", flush=True)
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([npm, "install", *quiet], cwd=HERE / peer, check=True)
        if not installed(peer):
            raise NotInstalled(f"npm did not install {peer} at {PEERS[peer].versions}")


def main() -> int:
    """Do what the command line asks; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the peers, what they promise, their workloads")
    some = commands.add_parser("install", help="install all peers, or those named")
    some.add_argument("peers", nargs="*", choices=[*PEERS, []], metavar="PEER")
    one = commands.add_parser("run", help="run one workload and print its figures")
    one.add_argument("peer", choices=PEERS)
    one.add_argument("workload", choices=WORKLOADS)
    one.add_argument("--count", type=int, help="entries in all, over all authors")
    one.add_argument("--size", type=int, help="bytes of an entry")
    one.add_argument(
        "--authors",
        type=int,
        help="default: 1000 for authors, else as in the system's own benchmarks",
    )
    one.add_argument("--workdir", type=Path, help="keeps the sender's logs between runs")
    asked = parser.parse_args()

    if asked.command == "list":
        for name, peer in PEERS.items():
            state = "installed" if installed(name) else "not installed"
            print(f"{name}: {peer.versions}, {state}\n  durable: {peer.durable}")
            print(f"  verified: {peer.verified}\n  encrypted: {peer.encrypted}")
            print(f"  workloads: {', '.join(peer.workloads)}")
        return 0
    try:
        if asked.command == "install":
            install(asked.peers or list(PEERS))
            return 0
        large = asked.workload == "payload"
        feeds = {"catchup": PEERS[asked.peer].authors, "authors": 1000}.get(asked.workload, 1)
        with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
            figures = run(
                asked.peer,
                asked.workload,
                count=asked.count or (2000 if large else 10_000),
                size=asked.size or (65536 if large else 100),
                authors=asked.authors or feeds,
                workdir=asked.workdir or Path(scratch),
            )
        print(json.dumps(figures))
    except (NotInstalled, PeerFailed, ValueError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"npm ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
