"""Write dht_keys.json: the keys of some networks in a distributed hash table, on some days.

    python tests/vectors/generate_dht.py

Written from the specification (docs/protocol/dht.rst), not with the code that it tests.
"""

import hashlib
import hmac
import json
from pathlib import Path


def tag(words: str) -> bytes:
    return f"gossiplog/1 {words}".encode().ljust(32, b"\0")


def key(discovery_id: bytes, day: int) -> str:
    return hmac.new(discovery_id, tag("dht") + day.to_bytes(8, "big"), hashlib.sha256).digest()[:20].hex()


def main() -> None:
    cases = []
    for network in (bytes(range(32)), bytes(32), hashlib.sha256(b"foobar-123").digest()):
        discovery_id = hashlib.sha256(tag("discovery") + network).digest()
        for seconds in (0, 86_399, 86_400, 1_796_083_199.5, 1_796_083_200, 253_402_300_799):
            day = int(seconds // 86_400)
            cases.append(
                {
                    "network": network.hex(),
                    "discovery_id": discovery_id.hex(),
                    "unix_seconds": seconds,
                    "day": day,
                    "key": key(discovery_id, day),
                    "yesterday": key(discovery_id, max(0, day - 1)),
                }
            )
    path = Path(__file__).parent / "dht_keys.json"
    path.write_text(json.dumps({"keys": cases}, indent=2) + "\n")


if __name__ == "__main__":
    main()
