"""Every backend against the conformance suite."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.store.interface import Backend
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.testing.conformance.suite import BackendConformance


class MemoryBackendTests(BackendConformance, SynchronousTestCase):
    def make_backend(self) -> Backend:
        return MemoryBackend()

    def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, MemoryBackend)
        return backend.reopen()


class SQLiteBackendTests(BackendConformance, SynchronousTestCase):
    def setUp(self) -> None:
        self.place = self.mktemp()

    def make_backend(self) -> Backend:
        return self._open()

    def reopen(self, backend: Backend) -> Backend:
        backend.close()
        return self._open()

    def _open(self) -> Backend:
        backend = SQLiteBackend(self.place)
        self.addCleanup(backend.close)
        return backend
