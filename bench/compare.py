"""``python -m bench compare PEER``: ours and theirs on the same work, interleaved, because single runs drift."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import peers, workloads

OURS = {
    "durable": "every commit is synced (WAL, synchronous=FULL) before it is acknowledged or counted",
    "verified": "every entry's hash chain and every segment's Ed25519 signature",
    "encrypted": "Noise XXpsk0, ChaCha20-Poly1305",
}

DEFAULTS = {
    # workload: (entries in all, payload bytes, authors, the figure compared, whether more is better)
    "catchup": (100_000, 100, 1, "entries_per_s", True),
    "authors": (10_000, 100, 1000, "entries_per_s", True),
    "payload": (2000, 65_536, 1, "mb_per_s", True),
    "append": (2000, 100, 1, "entries_per_s", True),
    "append-batches": (200_000, 100, 1, "entries_per_s", True),
    "live": (300, 100, 1, "p50_ms", False),
}


def ours(workload: str, work: Path, count: int, size: int, authors: int, *, single: bool) -> dict[str, Any]:
    """Our figures for one workload of the peers' list."""
    if workload == "live":
        return workloads.live(work, count, size, 0.01)
    if workload in ("append", "append-batches"):
        fields = workloads.append(work, count, size, 4)
        key = "single_per_s" if workload == "append" else "batch_per_s"
        return {**fields, "entries_per_s": fields[key]}
    return workloads.catchup(work, count // authors, size, authors, single=single)


def compare(
    peer: str,
    workload: str,
    *,
    rounds: int,
    count: int | None,
    size: int | None,
    authors: int | None,
    single: bool,
    root: Path | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run both ``rounds`` times in turn; the medians, and the ratio of every pair."""
    entries, payload, writers, key, more_is_better = DEFAULTS[workload]
    entries, payload, writers = count or entries, size or payload, authors or writers
    theirs = peers.PEERS[peer]
    kept = Path(tempfile.mkdtemp(prefix="gossiplog-compare-", dir=root))
    pairs = []
    try:
        for turn in range(rounds):
            work = kept / f"ours-{turn}"
            a = ours(workload, work, entries, payload, writers, single=single)
            shutil.rmtree(work)
            b = peers.run(
                peer, workload, count=entries, size=payload, authors=writers, workdir=kept / "theirs"
            )
            ratio = a[key] / b[key] if more_is_better else b[key] / a[key]
            pairs.append((a[key], b[key], round(ratio, 2)))
            tell(f"  round {turn + 1}: gossiplog {a[key]:,}  {peer} {b[key]:,}  {key}  ratio {ratio:.2f}")
    finally:
        shutil.rmtree(kept)
    return {
        "benchmark": "compare",
        "peer": peer,
        "versions": theirs.versions,
        "workload": workload,
        "entries": entries,
        "size": payload,
        "authors": writers,
        "work": f"{workload}, {entries:,} x {payload:,} B"
        + (f", {writers:,} authors" if writers > 1 else "")
        + (", one at a time" if single else ""),
        "figure": key,
        "gossiplog": statistics.median(pair[0] for pair in pairs),
        "theirs": statistics.median(pair[1] for pair in pairs),
        "ratios": [pair[2] for pair in pairs],
        "ratio": statistics.median(pair[2] for pair in pairs),
        "promises": {
            "gossiplog": OURS,
            peer: {"durable": theirs.durable, "verified": theirs.verified, "encrypted": theirs.encrypted},
        },
    }
