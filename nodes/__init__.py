"""What happens in one step of a search; each node is a small class that holds its live objects."""

from forethought.nodes.accept import Accept
from forethought.nodes.answer import WriteAnswer
from forethought.nodes.cancellable import Cancellable
from forethought.nodes.chain import ChainState, OpenChain
from forethought.nodes.chain_routes import (
    after_opening,
    after_paragraph,
    after_probe,
    after_take_over,
    after_target,
)
from forethought.nodes.conclude import Conclude
from forethought.nodes.controller import Controller
from forethought.nodes.cot_answer import AnswerFromChain
from forethought.nodes.cot_choose import ChooseChain
from forethought.nodes.cot_draft import DraftChains, StartChains
from forethought.nodes.cot_rethink import ThinkAgain
from forethought.nodes.cot_state import CotState
from forethought.nodes.draft import Draft
from forethought.nodes.evaluate import Evaluate
from forethought.nodes.gauge import Gauge
from forethought.nodes.hand_overs import Begin, Recheck, TakeOver, Verify
from forethought.nodes.paragraphs import Probe, WriteParagraph
from forethought.nodes.policies import AcceptancePolicy
from forethought.nodes.revise import Revise
from forethought.nodes.routes import (
    after_accept,
    after_chains,
    after_choice,
    after_gauge,
    after_select,
    after_start,
)
from forethought.nodes.select import Select
from forethought.nodes.selection import Selector
from forethought.nodes.start import Start
from forethought.nodes.state import EVENT_SCHEMA, SearchInput, SearchState, changed_settings
from forethought.nodes.steps import Rules

__all__ = [
    "EVENT_SCHEMA",
    "Accept",
    "AcceptancePolicy",
    "AnswerFromChain",
    "Begin",
    "Cancellable",
    "ChainState",
    "ChooseChain",
    "Conclude",
    "Controller",
    "CotState",
    "Draft",
    "DraftChains",
    "Evaluate",
    "Gauge",
    "OpenChain",
    "Probe",
    "Recheck",
    "Revise",
    "Rules",
    "SearchInput",
    "SearchState",
    "Select",
    "Selector",
    "Start",
    "StartChains",
    "TakeOver",
    "ThinkAgain",
    "Verify",
    "WriteAnswer",
    "WriteParagraph",
    "after_accept",
    "after_chains",
    "after_choice",
    "after_gauge",
    "after_opening",
    "after_paragraph",
    "after_probe",
    "after_select",
    "after_start",
    "after_take_over",
    "after_target",
    "changed_settings",
]
