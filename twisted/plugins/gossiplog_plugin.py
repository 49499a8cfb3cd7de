"""Tell twistd that there are ``gossiplog`` services, without importing them (twistd imports every plugin)."""

from twisted.application.service import ServiceMaker

gossiplog = ServiceMaker(
    "gossiplog", "gossiplog.app.tap", "Keep and replicate append-only logs.", "gossiplog"
)
gossiplog_host = ServiceMaker(
    "gossiplog-host",
    "gossiplog.app.host_tap",
    "Keep and replicate append-only logs of many networks, as a file says.",
    "gossiplog-host",
)
gossiplog_room = ServiceMaker(
    "gossiplog-room",
    "gossiplog.app.room_tap",
    "Let nodes meet that nobody can dial, without reading what they say.",
    "gossiplog-room",
)
