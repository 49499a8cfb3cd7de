"""When a file came to be, which no tool can put back.

Responsible for: asking the system for it.
Must not know: what follows from it.
Invariant: what the system or the file system does not say is 0.  A file that is written over keeps its birth, whatever
becomes of its content, its times and its attributes; another file that gets its inode has another one.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from functools import cache
from typing import Any, Final

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX: Final = struct.Struct("=I76xqI")
"""Of ``struct statx``: which fields are given, and behind others the seconds and nanoseconds of the birth."""
_STATX_BYTES: Final = 256

if sys.platform == "linux":

    def birth(file: str | int) -> int:
        """Return when a file, given by path or descriptor, was made, in nanoseconds; 0 where that is not known."""
        ask = _statx()
        if ask is None:
            return 0
        found = ctypes.create_string_buffer(_STATX_BYTES)
        if isinstance(file, int):
            failed = ask(file, b"", _AT_EMPTY_PATH, _STATX_BTIME, found)
        else:
            failed = ask(_AT_FDCWD, os.fsencode(file), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found)
        given, seconds, nanoseconds = _STATX.unpack_from(found)
        return 0 if failed or not given & _STATX_BTIME else max(0, seconds * 10**9 + nanoseconds)

    @cache
    def _statx() -> Any:
        """Return the function of the C library, ``None`` in one that has it not; Python has it from 3.15 on."""
        return getattr(ctypes.CDLL(None), "statx", None)

else:

    def birth(file: str | int) -> int:
        """Return when a file, given by path or descriptor, was made, in nanoseconds; 0 where that is not known."""
        return int(getattr(os.stat(file), "st_birthtime", 0) * 10**9)
