"""What hostile members, strangers and stores can do to real processes, measured; ``python -m tests.audit``.

Each module here, but for ``case``, has a tuple ``CASES``.
"""
