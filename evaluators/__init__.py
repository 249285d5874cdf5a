"""What a thought is worth, in [0, 1]."""

from forethought.evaluators.aggregate import Aggregate
from forethought.evaluators.agreement import Agreement
from forethought.evaluators.cache import Cached
from forethought.evaluators.calibration import (
    Calibrated,
    Calibration,
    fit_calibration,
    read_calibration,
)
from forethought.evaluators.causal_prm import CausalPrm
from forethought.evaluators.chat_judge import ChatJudge
from forethought.evaluators.digit_judge import DigitJudge
from forethought.evaluators.ensemble import Ensemble
from forethought.evaluators.equations import EquationCheck, Equations
from forethought.evaluators.evaluator import Evaluator, path_tokens
from forethought.evaluators.final_answer import FinalAnswer, same_answer
from forethought.evaluators.head_prm import HeadPrm
from forethought.evaluators.heads import Head, Layer, extract_head, load_head, save_head
from forethought.evaluators.judge import Judge
from forethought.evaluators.likelihood import Likelihood
from forethought.evaluators.probe import Probe, load_probe
from forethought.evaluators.registry import Parts, build_evaluator
from forethought.evaluators.sandbox import Limits, Outcome, Sandbox
from forethought.evaluators.shortlist import Shortlist
from forethought.evaluators.small_prm import SmallPrm, open_small_prm
from forethought.evaluators.unit_tests import CodeProblem, UnitTests, run_tests
from forethought.evaluators.visible_tests import VisibleTests

__all__ = [
    "Aggregate",
    "Agreement",
    "Cached",
    "Calibrated",
    "Calibration",
    "CausalPrm",
    "ChatJudge",
    "CodeProblem",
    "DigitJudge",
    "Ensemble",
    "EquationCheck",
    "Equations",
    "Evaluator",
    "FinalAnswer",
    "Head",
    "HeadPrm",
    "Judge",
    "Layer",
    "Likelihood",
    "Limits",
    "Outcome",
    "Parts",
    "Probe",
    "Sandbox",
    "Shortlist",
    "SmallPrm",
    "UnitTests",
    "VisibleTests",
    "build_evaluator",
    "extract_head",
    "fit_calibration",
    "load_head",
    "load_probe",
    "open_small_prm",
    "path_tokens",
    "read_calibration",
    "run_tests",
    "same_answer",
    "save_head",
]
