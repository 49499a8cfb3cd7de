"""``python -m tests.differential [--inputs N] [--seed S]``

Gives two decoders the vectors and mutations of them, and prints what they do not agree about.  Exit status 1 if there
is anything, 2 without Node.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice

from tests.differential.inputs import mutations, seeds
from tests.differential.verdicts import differences, why_not

AT_ONCE = 20_000
SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.differential", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason)
        return 2
    mutated = mutations(options.seed)
    inputs = seeds()
    given = accepted = different = 0
    while inputs:
        taken, found = differences(inputs)
        given += len(inputs)
        accepted += taken
        for each in found[: max(0, SHOWN - different)]:
            print(
                f"{each.kind} {each.data.hex()}\n  ours    {each.ours}\n  theirs  {each.theirs}", flush=True
            )
        different += len(found)
        inputs = list(islice(mutated, min(AT_ONCE, max(0, options.inputs - given))))
    print(f"{given} inputs, {accepted} accepted by both, {different} understood differently")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
