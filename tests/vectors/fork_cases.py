"""Fork proofs: from every pair of segments that disagree, and every way to prove nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from gossiplog.log.fork import ForkProof, build_proof, encode_proof
from gossiplog.log.keys import format_author, genesis_id
from gossiplog.log.segment import Head, Segment, build, drop_payloads, id_at, merge, signed_head, tail_after
from tests.vectors.segment_cases import OTHER, PAIR, START


def plain(value: Any) -> Any:
    return value._asdict() if isinstance(value, Segment) else value


def forks() -> dict[str, Any]:
    [common], at_2 = build(PAIR, START, [b"one", b"two"])
    [ours], ours_at_4 = build(PAIR, at_2, [b"three", b"four"])
    [theirs], theirs_at_5 = build(PAIR, at_2, [b"THREE", b"FOUR" * 100, b"FIVE"])
    [ours_later], _ = build(PAIR, ours_at_4, [b"five", b"six", b"seven"])
    [theirs_later], _ = build(PAIR, theirs_at_5, [b"SIX"])
    [theirs_at_1], _ = build(PAIR, START, [b"ONE"])
    pairs = {
        "one ends inside the other": (ours, theirs),
        "the other way round": (theirs, ours),
        "both end at one seq": (ours, tail_after(signed_head(PAIR, Head(4, bytes(32))), 4, bytes(32))),
        "one is a signed head": (signed_head(PAIR, ours_at_4), theirs),
        "both are signed heads": (signed_head(PAIR, ours_at_4), signed_head(PAIR, Head(4, b"\1" * 32))),
        "ours ends where theirs begins": (ours, tail_after(theirs, 4, id_at(theirs, 4))),
        "merged logs": (merge([common, ours, ours_later]), merge([common, theirs, theirs_later])),
        "from the first entry": (theirs_at_1, merge([common, ours])),
        "with holes": (drop_payloads(ours, [3]), drop_payloads(theirs, [4])),
        "the same segment": (ours, ours),
        "one log, overlapping": (merge([common, ours]), ours),
        "one log, adjacent": (common, ours),
        "two logs, adjacent": (common, theirs),
        "no seq in common": (common, ours_later),
    }

    def built() -> Iterator[dict[str, Any]]:
        for name, (left, right) in pairs.items():
            proof = build_proof(left, right)
            made = None
            if proof is not None:
                made = {key: plain(value) for key, value in proof._asdict().items()}
            encoded = None if proof is None else encode_proof(proof)
            yield {
                "name": name,
                "ours": plain(left),
                "theirs": plain(right),
                "proof": made,
                "encoded": encoded,
            }

    proof = build_proof(ours, theirs)
    assert proof is not None
    padded = build_proof(theirs_at_1, merge([common, ours]))
    assert padded is not None
    return {
        "built": list(built()),
        "invalid": list(invalid(proof, theirs)),
        "files": [{"encoded": encode_proof(one), "text": one.dump().decode()} for one in (proof, padded)],
        "not_files": not_files(padded),
    }


def not_files(proof: ForkProof) -> dict[str, str]:
    text = proof.dump().decode()
    magic, about, *lines = text.splitlines()
    base64 = "\n".join(lines)
    assert base64.endswith("=")
    forged = proof._replace(signature=bytes(64))
    longer = b64encode(b"\xdc\x00\x05" + encode_proof(proof)[1:]).decode()

    def joined(*parts: str) -> str:
        return "".join(f"{part}\n" for part in parts)

    return {
        "empty": "",
        "another first line": joined("gossiplog/1 fork", about, base64),
        "a later version": joined("gossiplog/2 fork proof", about, base64),
        "space in front": f" {text}",
        "the first line alone": joined(magic),
        "no second line": joined(magic, base64),
        "another author": joined(magic, about.replace(about.split()[0], format_author(OTHER.author)), base64),
        "another seq": joined(magic, f"{about}0", base64),
        "the author in hex": joined(magic, f"{proof.author.hex()} {proof.seq}", base64),
        "no padding": joined(magic, about, base64.rstrip("=")),
        "not Base64": joined(magic, about, f"{base64[:-4]}*==="),
        "one long line": joined(magic, about, base64.replace("\n", "")),
        "cut": joined(magic, about, *lines[:-1]),
        "an empty line behind": f"{text}\n",
        "a longer form of its array": joined(
            magic, about, *(longer[at : at + 76] for at in range(0, len(longer), 76))
        ),
        "not signed": forged.dump().decode(),
    }


def invalid(proof: ForkProof, theirs: Segment) -> Iterator[dict[str, Any]]:
    segment = proof.segment
    [other], other_head = build(OTHER, Head(0, genesis_id(OTHER.author)), [b"one"])
    cases = {
        "the same statement twice": proof._replace(segment=signed_head(PAIR, Head(4, proof.id))),
        "the segment starts later": proof._replace(segment=tail_after(theirs, 5, id_at(theirs, 5))),
        "the segment starts earlier": proof._replace(segment=drop_payloads(theirs, [3, 4, 5])),
        "seq is another": proof._replace(seq=3),
        "seq 0": ForkProof(proof.author, 0, b"\1" * 32, proof.signature, theirs._replace(first=1)),
        "the first statement is not signed": proof._replace(signature=bytes(64)),
        "the first id is not the signed one": proof._replace(id=b"\1" * 32),
        "the second statement is not signed": proof._replace(segment=segment._replace(signature=bytes(64))),
        "the second previous is not the signed one": proof._replace(
            segment=segment._replace(previous=b"\1" * 32)
        ),
        "of two authors": ForkProof(
            PAIR.author, proof.seq, proof.id, proof.signature, other._replace(first=5)
        ),
        "signed by another": proof._replace(
            author=OTHER.author,
            signature=OTHER.sign_head(4, proof.id),
            segment=segment._replace(author=OTHER.author),
        ),
        "signature too short": proof._replace(signature=proof.signature[1:]),
        "id too short": proof._replace(id=proof.id[1:]),
        "a body instead of its hash": proof._replace(
            segment=build(PAIR, Head(4, segment.previous), [b"x" * 34])[0][0]
        ),
        "broken items": proof._replace(segment=segment._replace(bodies=b"\x90")),
    }
    assert other_head.seq == 1
    for reason, case in cases.items():
        yield {"reason": reason, "proof": {key: plain(value) for key, value in case._asdict().items()}}
