"""Other values for names of modules, for a while.

Responsible for: setting them and putting them back.
Must not know: what they mean.
Invariant: everything is as before afterwards, also after a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def patched(values: Mapping[tuple[ModuleType, str], Any]) -> Iterator[None]:
    """Within it, the names of ``values`` have these values."""
    before = {(module, name): getattr(module, name) for module, name in values}
    try:
        for (module, name), value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
