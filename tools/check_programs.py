"""Check the types of every program in README, documents and examples, strictly: ``check_programs.py DIR``.

Writes them to DIR, which is emptied before, and runs mypy on them, each on its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.documents import programs  # noqa: E402  # from the checkout


def main(directory: Path) -> int:
    """Return mypy's exit status."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for place, source in programs(ROOT):
        path = directory / (re.sub(r"\W", "_", place.removesuffix(".py")) + ".py")
        path.write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    return subprocess.call([*command, *map(str, sorted(directory.glob("*.py")))], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
