"""A server of scripted repliers, and of a scripted model, in a process of its own:
`serve_scripted.py PAUSE GRACE`."""

from __future__ import annotations

import sys

from scripted_replies import ScriptedReplier

from forethought.chat import PlainReplier
from forethought.engine import ScriptedModel
from forethought.serving import ServerConfig
from forethought.serving.app import Server
from forethought.serving.run import serve


def step(prompt: str, seed: int, index: int) -> str:
    """A step of a solution that ends with the third."""
    number = prompt.rpartition("assistant")[2].count("Step") + 1
    return f"Step {number} of {index}." + (" \\boxed{7}" if number > 2 else "\n\n")


if __name__ == "__main__":
    pause, grace = map(float, sys.argv[1:])
    repliers = [
        ScriptedReplier(pause=pause, reasoning=("Hm.",)),
        ScriptedReplier("endless", pause=0.02, is_endless=True),
        PlainReplier(ScriptedModel(step, name="large")),
    ]
    serve(Server(repliers, ServerConfig(port=0, grace=grace, max_tokens=10**6)))
