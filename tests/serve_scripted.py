"""A server of scripted repliers in a process of its own: `serve_scripted.py PAUSE GRACE`."""

from __future__ import annotations

import sys

from scripted_replies import ScriptedReplier

from forethought.serving import ServerConfig
from forethought.serving.app import Server
from forethought.serving.run import serve

if __name__ == "__main__":
    pause, grace = map(float, sys.argv[1:])
    repliers = [
        ScriptedReplier(pause=pause, reasoning=("Hm.",)),
        ScriptedReplier("endless", pause=0.02, is_endless=True),
    ]
    serve(Server(repliers, ServerConfig(port=0, grace=grace, max_tokens=10**6)))
