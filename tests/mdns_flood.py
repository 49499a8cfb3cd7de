"""A host that announces services by the thousand, and prints a line when it is done.

    python -m tests.mdns_flood COUNT KEY HOST VICTIM

With the KEY of a network all have tags of that, as a member's would, or records copied from one; with - tags of chance.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from ipaddress import IPv4Address

from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText

from gossiplog import Network
from gossiplog.discovery.lan_record import properties
from gossiplog.discovery.multicast import SERVICE

GROUP = ("224.0.0.251", 5353)
RESPONSE, IN, UNIQUE = 0x8400, 1, 0x8001
TTL = 4500


def packet(number: int, discovery_id: bytes, victim: str) -> bytes:
    """One service: at an address of its own, and at the victim's."""
    name, host = f"{os.urandom(8).hex()}.{SERVICE}", f"{os.urandom(8).hex()}.local."
    said = properties(discovery_id, os.urandom(8))
    text = b"".join(
        bytes([len(key) + 1 + len(value)]) + key.encode() + b"=" + value for key, value in said.items()
    )
    out = DNSOutgoing(RESPONSE)
    out.add_answer_at_time(DNSPointer(SERVICE, 12, IN, TTL, name), 0)
    out.add_answer_at_time(DNSService(name, 33, UNIQUE, TTL, 0, 0, 1024 + number % 60000, host), 0)
    out.add_answer_at_time(DNSText(name, 16, UNIQUE, TTL, text), 0)
    for address in (f"10.9.0.{10 + number % 200}", victim, "8.8.8.8"):
        out.add_answer_at_time(DNSAddress(host, 1, UNIQUE, TTL, IPv4Address(address).packed), 0)
    [made] = out.packets()
    return made


def main(count: int, key: str, host: str, victim: str) -> None:
    """Send them, as fast as a receiver reads them on a slow machine."""
    discovery_id = os.urandom(32) if key == "-" else Network.parse(key).discovery_id
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sender.bind((host, 5353))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        for number in range(count):
            sender.sendto(packet(number, discovery_id, victim), GROUP)
            if number % 20 == 19:
                time.sleep(0.01)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
