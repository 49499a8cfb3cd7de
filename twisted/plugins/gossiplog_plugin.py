"""Tell twistd that there is a ``gossiplog`` service, without importing it (twistd imports every plugin)."""

from twisted.application.service import ServiceMaker

gossiplog = ServiceMaker(
    "gossiplog", "gossiplog.app.tap", "Keep and replicate append-only logs.", "gossiplog"
)
