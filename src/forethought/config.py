"""Settings: frozen, checked where they are made, with the offending value in the message.

A config never acts: it loads nothing, reads no environment and allocates nothing.
Defaults stand here and nowhere else; the command line reads them from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from forethought.errors import ConfigError

Estimator = Literal["mean", "ucb", "max"]
EstimatorPool = Literal["large_only", "large_plus_accepted"]
PolicyName = Literal["ema", "fixed", "random", "share", "always", "never"]
Reasoning = Literal["auto", "on", "off"]
SplitMode = Literal["none", "layer", "row"]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
MOST_LOGPROBS = 20


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_at_least(name: str, value: float, least: float) -> None:
    """Raise `ConfigError` unless `value >= least`."""
    require(value >= least, f"{name} must be at least {least}, not {value}")


def require_between(name: str, value: float, bounds: tuple[float, float]) -> None:
    """Raise `ConfigError` unless `value` lies within the closed `bounds`."""
    low, high = bounds
    require(low <= value <= high, f"{name} must lie in {low}..{high}, not {value}")


def require_deadline(seconds: float | None) -> None:
    """Raise `ConfigError` unless there is no deadline or one that is ahead."""
    require(seconds is None or seconds > 0, f"deadline must be above 0 seconds, not {seconds}")


def require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of `allowed`."""
    require(value in allowed, f"{name} must be one of {', '.join(allowed)}, not {value!r}")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn, and where a completion ends.

    `temperature` 0 is greedy. Filters run in llama.cpp's own order: top-k, top-p, min-p, then
    temperature; `top_k` 0, `top_p` 1 and `min_p` 0 switch a filter off. `max_tokens` counts sampled
    tokens. A completion ends where one of the `stop` strings is complete in the decoded text: the
    text is cut before it, or with `keep_stop` runs to the end of the token that completes it.
    `keep_stop` also passes over stop strings that follow nothing but white space, so that a kept
    text is never blank. `seed` fixes every draw; prompt i of a batch draws from its own stream.
    With `logprob`, completions tell how probable the model found them; with `top_logprobs`, how
    probable each token was, and that many of the likeliest in its place (0: the token alone).
    `grammar` is a GBNF grammar with a rule `root`, as in llama.cpp, that the whole text fits: what
    does not is never drawn, and filters choose among the rest. A text that ends by its length is
    the beginning of one that fits.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    keep_stop: bool = False
    seed: int = 0
    logprob: bool = False
    top_logprobs: int | None = None
    grammar: str | None = None

    def __post_init__(self) -> None:
        require_between("temperature", self.temperature, (0.0, 10.0))
        require_between("top_p", self.top_p, (0.0, 1.0))
        require_at_least("top_k", self.top_k, 0)
        require_between("min_p", self.min_p, (0.0, 1.0))
        require_at_least("max_tokens", self.max_tokens, 1)
        require(all(self.stop), "stop strings must not be empty")
        require_at_least("seed", self.seed, 0)
        if self.top_logprobs is not None:
            require_between("top_logprobs", self.top_logprobs, (0, MOST_LOGPROBS))
        require(self.grammar is None or bool(self.grammar.strip()), "a grammar must not be blank")


class Drawing(Protocol):
    """Settings of any run, as far as they say how tokens are drawn."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def min_p(self) -> float: ...


def drawn_by(config: Drawing) -> SamplingParams:
    """The parameters that a run's settings name; the others at their defaults.

    Raises:
        ConfigError: a value is out of range.
    """
    return SamplingParams(config.temperature, config.top_p, config.top_k, config.min_p)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How one model is placed on the machine. All of it reaches llama.cpp.

    `context_size` counts KV cells shared by all sequences; 0 takes 8192, or what the model was
    trained with where that is less. Of these, prefixes that no sequence uses any more are kept
    while no more than `cache_tokens` are in use in all: the more are in use, the longer every
    decode takes on a CPU. `max_sequences` may decode in one batch; `batch_tokens` bounds
    the tokens of one step, and with that how long a cancelled request may still run. `gpu_layers`
    None means all where the build supports offload, else none; -1 is all. `threads` 0 is one per
    core. `flash_attention` None leaves the choice to llama.cpp. `reproducible` keeps CPU batches
    below the size where other kernels round differently, so that on Q4_0, Q4_1 and Q8_0 a prompt's
    logits do not depend on the batch's shape; it costs about 6 % of prefill speed. What remains is
    the order of a sequence's cells in a cache that was filled and emptied before.
    `hidden_states` lets evaluators read the model's hidden states, which costs a call into Python
    for every node of the compute graph: on a CPU about 1 % of a decode.
    """

    context_size: int = 0
    cache_tokens: int = 4096
    max_sequences: int = 64
    batch_tokens: int = 256
    threads: int = 0
    gpu_layers: int | None = None
    split_mode: SplitMode = "layer"
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    flash_attention: bool | None = None
    kv_type: KvType = "f16"
    reproducible: bool = True
    hidden_states: bool = False

    def __post_init__(self) -> None:
        require_at_least("context_size", self.context_size, 0)
        require_at_least("cache_tokens", self.cache_tokens, 0)
        require_between("max_sequences", self.max_sequences, (1, 192))
        require_at_least("batch_tokens", self.batch_tokens, 1)
        require(
            self.batch_tokens >= self.max_sequences,
            f"batch_tokens ({self.batch_tokens}) must be at least max_sequences "
            f"({self.max_sequences}): every sequence decodes one token a step",
        )
        require_at_least("threads", self.threads, 0)
        require(
            self.gpu_layers is None or self.gpu_layers >= -1,
            f"gpu_layers must be -1 (all), a count, or None (auto), not {self.gpu_layers}",
        )
        require_one_of("split_mode", self.split_mode, ("none", "layer", "row"))
        require(all(s >= 0 for s in self.tensor_split), "tensor_split must not be negative")
        require_at_least("main_gpu", self.main_gpu, 0)
        require_one_of("kv_type", self.kv_type, ("f32", "f16", "bf16", "q8_0", "q4_0"))
        require(
            self.kv_type in ("f32", "f16", "bf16") or self.flash_attention is not False,
            f"kv_type {self.kv_type} needs flash attention: leave flash_attention unset",
        )


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """SpecSearch over a beam or by MCTS: one run's settings, plain data.

    Names follow the paper: `tree_width` N thoughts wanted per expanded node, `beam_width` B,
    `theta` the EMA weight, `theta_estimator` Theta over the scores of `estimator_pool`,
    `draft_multiplier` m (the draft writes m*N candidates a node), `extra_large_thoughts` the target
    writes beside the replacements. `refill` says how many replacements: up to N thoughts a node as
    in the paper ("width"), or over all nodes only up to the beam's open places ("beam"); every
    thought still passes the same test. `init` says where the first threshold comes from: thoughts
    that the target writes at the root ("target"), or earlier runs ("store").
    `search` "mcts" walks `num_paths` whole paths instead of keeping a beam. `policy` names the rule
    by which drafts are accepted (see `nodes.policies`): "fixed" takes `threshold`, "random" and
    "share" `draft_share`; "never" lets the target write everything, the autoregressive baseline
    through the same code. `controller` lets measured costs decide how many drafts a step is worth,
    m * N at most; runs then depend on the machine's pace. It drafts only where the draft, asked now
    and then to answer a question thrice, agrees with itself in `min_agreement` of all pairs or more
    (0: it is never asked).
    `thought_tokens` bounds one thought, `max_tokens` all sampled tokens of a run, `answer_by` picks
    the best finished path or the answer with the largest sum of scores. The first `early_commits`
    steps keep their best thought alone, so that it can be shown for good at once; where the target
    writes such a step, it is the best of `early_width` (None: N). `deadline` is in seconds.
    """

    task: str = "math"
    tree_width: int = 4
    beam_width: int = 2
    max_depth: int = 16
    search: Literal["beam", "mcts"] = "beam"
    num_paths: int = 4
    policy: PolicyName = "ema"
    threshold: float = 0.7
    draft_share: float = 0.5
    controller: Literal["on", "off"] = "off"
    min_agreement: float = 0.35
    theta: float = 0.9
    theta_estimator: Estimator = "mean"
    estimator_pool: EstimatorPool = "large_only"
    init_estimator: Estimator | None = None
    init: Literal["target", "store"] = "target"
    ucb_c: float = 1.0
    draft_multiplier: int = 1
    refill: Literal["beam", "width"] = "beam"
    extra_large_thoughts: int = 0
    thought_tokens: int = 256
    max_tokens: int = 16384
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.0
    seed: int = 0
    answer_by: Literal["best", "vote"] = "best"
    early_commits: int = 0
    early_width: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        counts = ("tree_width", "beam_width", "max_depth", "num_paths", "draft_multiplier")
        for name in (*counts, "thought_tokens", "max_tokens"):
            require_at_least(name, getattr(self, name), 1)
        require_at_least("early_width", 1 if self.early_width is None else self.early_width, 1)
        for name in ("extra_large_thoughts", "early_commits"):
            require_at_least(name, getattr(self, name), 0)
        for name in ("theta", "threshold", "draft_share", "min_agreement"):
            require_between(name, getattr(self, name), (0.0, 1.0))
        require_at_least("ucb_c", self.ucb_c, 0.0)
        require_at_least("seed", self.seed, 0)
        estimators = ("mean", "ucb", "max")
        require_one_of("search", self.search, ("beam", "mcts"))
        require_one_of("policy", self.policy, get_args(PolicyName))
        require_one_of("controller", self.controller, ("on", "off"))
        require_one_of("theta_estimator", self.theta_estimator, estimators)
        require_one_of("init_estimator", self.init_estimator or "mean", estimators)
        pools = ("large_only", "large_plus_accepted")
        require_one_of("estimator_pool", self.estimator_pool, pools)
        require_one_of("init", self.init, ("target", "store"))
        require_one_of("refill", self.refill, ("beam", "width"))
        require_one_of("answer_by", self.answer_by, ("best", "vote"))
        require_deadline(self.deadline)
        self.sampling()

    def is_early(self, depth: int) -> bool:
        """Whether the step at `depth`, from 1, keeps its best thought alone."""
        return depth <= self.early_commits

    def sampling(self, *, seed: int = 0) -> SamplingParams:
        """Parameters to draw one thought; `seed` tells this draw from the run's others."""
        return replace(
            drawn_by(self),
            max_tokens=self.thought_tokens,
            keep_stop=True,
            seed=seed,
            logprob=self.search == "mcts",
        )
