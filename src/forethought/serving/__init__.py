"""An OpenAI-compatible server over repliers: plain models and graphs, under their names.

`forethought.serving.app` and `forethought.serving.run` need the extra `server`.
"""

from forethought.serving.settings import ServerConfig

__all__ = ["ServerConfig"]
