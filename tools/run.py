"""Run a command in this checkout's own environment: ``python3 tools/run.py COMMAND ARGS...``.

The first use makes ``.venv`` and installs the project (editable) and tox in it; a use after ``setup.cfg`` or
the pins in ``tools/`` changed installs again; every other use starts the command at once.  Needs Python 3.11
or later and nothing else: the pip that installs is the wheel beside this file, for some systems ship Python
without ``ensurepip``.  Nothing is run or installed whose hash is not known: of that wheel it is below, of all
else in ``tools/requirements.txt``.  Older Pythons must still be able to read this file, to look for a newer
one.  Only a complete environment carries a stamp.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
PIP = max((ROOT / "tools").glob("pip-*.whl")) / "pip"  # a wheel is a zip file, and Python runs zip files
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
PINS = ("setup.cfg", "pyproject.toml", "tools/requirements.txt")
VENV = ROOT / ".venv"
MADE_HERE = VENV / "made-by-tools-run"
STAMP = VENV / "complete"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin" / "python"
MISLEADING = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")


def give_up(text):
    """End with one line that says why."""
    sys.exit(f"tools/run.py: {text}")


def say(text):
    """Print one line where it does not mix with the command's output."""
    print(f"tools/run.py: {text}", file=sys.stderr, flush=True)


def use_newer_python():
    """Start again under the newest Python on PATH that is new enough, or say that there is none."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for name in NEWER:
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", check], stderr=subprocess.DEVNULL) == 0:
            os.execv(found, [found, *sys.argv])
    this = "{}.{}".format(*sys.version_info)
    give_up("needs Python {}.{} or later; this is {} and PATH has no newer one".format(*OLDEST, this))


def place():
    """Return what an environment cannot outlive: its directory (scripts name it) and its Python."""
    return f"{ROOT} {os.path.realpath(PYTHON)}"


def pins():
    """Return a digest of everything that says what is installed."""
    texts = [PIP.parent.name, *((ROOT / name).read_text() for name in PINS)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def stamped():
    """Return the place and pins that the environment was completed with, or two empty strings."""
    try:
        there, what = STAMP.read_text().splitlines()
    except (OSError, ValueError):
        return "", ""
    return there, what


def set_up():
    """Make the environment or bring it up to date, once even if two terminals ask at the same time."""
    with open(ROOT / ".venv.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another terminal is setting up .venv; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        there, what = stamped()
        if there != place():
            make()
        elif what == pins():
            return
        else:
            say("the pins changed: bringing .venv up to date")
            STAMP.unlink()  # what an interrupted installation leaves is made anew
        install()
        STAMP.write_text(f"{place()}\n{pins()}\n")


def make():
    """Make an empty environment, in place of one that was made here before."""
    if VENV.exists() and not MADE_HERE.exists():
        give_up("there is a .venv that was not made here; move it away, or install into it yourself")
    say("setting up .venv (the first time; about a minute)")
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    MADE_HERE.touch()
    venv.create(VENV, symlinks=True)


def install():
    """Install pip, the project and the pinned tools, or give up with pip's own reason."""
    environ = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    environ.update(PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    if hashlib.sha256(PIP.parent.read_bytes()).hexdigest() != PIP_SHA256:
        give_up(f"{PIP.parent.name} is not the file whose hash stands in tools/run.py; get it again")
    pip = [str(PYTHON), str(PIP), "install", "--progress-bar=off"]
    pinned = [*pip, "--require-hashes", "--requirement", str(ROOT / "tools" / "requirements.txt")]
    ours = [*pip, "--no-index", "--no-build-isolation", str(PIP.parent), "--editable", str(ROOT)]
    with open(LOG, "wb") as log:
        code = 0
        for command in (pinned, ours):
            code = code or subprocess.call(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
    if code:
        lines = [line.strip() for line in LOG.read_text(errors="replace").splitlines()]
        reasons = [line for line in lines if line.startswith("ERROR: ")]
        reason = reasons[-1].removeprefix("ERROR: ") if reasons else f"pip ended with code {code}"
        give_up(f"could not install ({reason}); is your package index reachable?  All that pip said: {LOG}")


def main():
    """Set up if needed, then become the command."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit("usage: python3 tools/run.py COMMAND ARGS...")
    if sys.version_info < OLDEST:
        use_newer_python()
    if stamped() != (place(), pins()):
        try:
            set_up()
        except OSError as error:
            give_up(f"could not set up .venv: {error}")
    environ = dict(os.environ, VIRTUAL_ENV=str(VENV))
    environ["PATH"] = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    environ.pop("PYTHONHOME", None)
    try:
        os.execvpe(sys.argv[1], sys.argv[1:], environ)
    except OSError as error:
        give_up(f"cannot run {sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
