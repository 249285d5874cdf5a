"""What happens in one step of a search; each node is a small class that holds its live objects."""

from forethought.nodes.accept import Accept
from forethought.nodes.answer import WriteAnswer
from forethought.nodes.controller import Controller
from forethought.nodes.draft import Draft
from forethought.nodes.evaluate import Evaluate
from forethought.nodes.revise import Revise
from forethought.nodes.routes import after_accept, after_select, after_start
from forethought.nodes.select import Select
from forethought.nodes.start import Start
from forethought.nodes.state import SearchInput, SearchState

__all__ = [
    "Accept",
    "Controller",
    "Draft",
    "Evaluate",
    "Revise",
    "SearchInput",
    "SearchState",
    "Select",
    "Start",
    "WriteAnswer",
    "after_accept",
    "after_select",
    "after_start",
]
