"""Every size, count and time limit, each with its reason.  Sizes are bytes, times are seconds."""

from gossiplog.limits.control import *
from gossiplog.limits.discovery import *
from gossiplog.limits.disk import *
from gossiplog.limits.keys import *
from gossiplog.limits.memory import *
from gossiplog.limits.programs import *
from gossiplog.limits.rooms import *
from gossiplog.limits.sessions import *
from gossiplog.limits.values import *
from gossiplog.limits.wire import *
