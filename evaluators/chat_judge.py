"""Any LangChain chat model as judge: by log-probabilities where its provider gives them, else by a
grade in structured output. Nothing is read off its free text, so nothing is guessed."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from forethought.config import require_at_least, require_one_of
from forethought.errors import EvaluatorError, ForethoughtError
from forethought.evaluators.judge import shares_of
from forethought.model import Message, RunStopped, Usage, current_scope, record_usage
from forethought.prompts import Grade, Task
from forethought.thoughts import Thought

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

Reply = Literal["auto", "logprobs", "structured"]

_TOP_LOGPROBS: Final = 20  # the most that OpenAI's API gives
_HIGHEST: Final = 9  # of a Grade
# how a provider refuses an argument that it does not know: in its client, or by HTTP status
_REFUSALS: Final = (NotImplementedError, TypeError, ValueError)
_REFUSED_STATUS: Final = (400, 403, 422)


class ChatJudge:
    """Scores a path by what a chat model says of its last thought, in a conversation of its own.

    `how` is `logprobs`: P(yes) / (P(yes) + P(no)) over the alternatives of the reply's first token,
    where an answer that is not among them counts as 0; `structured`: a grade from 0 to 9, over 9,
    through `with_structured_output`; or `auto`: the first where one trial shows that the provider
    gives it, else the second, and so for good. The two differ in scale: where thresholds are to
    outlive a run, say which. `concurrency` bounds the calls at a time; temperature, length of the
    reply and retries are settings of `model`.

    Log-probabilities are asked for as ChatOpenAI takes them (`logprobs=True, top_logprobs=20`) and
    looked for in `response_metadata["logprobs"]["content"][0]["top_logprobs"]`.

    Raises:
        ConfigError: `how` is none of these, or `concurrency` is below 1.
    """

    def __init__(
        self, model: BaseChatModel, task: Task, *, how: Reply = "auto", concurrency: int = 8
    ) -> None:
        require_one_of("how", how, get_args(Reply))
        require_at_least("concurrency", concurrency, 1)
        self.model = model
        self.task = task
        self.how = how
        self.concurrency = concurrency
        self._settled: Reply = how

    @property
    def name(self) -> str:
        """`chat_judge`, the chat model's name, and `how` as it was asked for."""
        return f"chat_judge:{self._model_name()}:{self.how}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path.

        Raises:
            EvaluatorError: the provider failed, with its error as the cause; or a reply holds
                neither an answer nor a grade.
            RunStopped: the caller's run has stopped; calls that are under way are waited for.
        """
        if not paths:
            return []
        how = self._tried(question, paths[0]) if self._settled == "auto" else self._settled
        scored = self._by_logprobs if how == "logprobs" else self._by_grade
        scores = scored(question, paths)
        self._settled = how  # only now: a trial that misled must not stay
        return scores

    def _tried(self, question: str, path: list[Thought]) -> Reply:
        """Which way the provider knows. Its other failures are raised."""
        try:
            self._by_logprobs(question, [path])
        except EvaluatorError as error:
            if error.__cause__ is None or _is_refusal(error.__cause__):
                return "structured"
            raise
        return "logprobs"

    def _by_logprobs(self, question: str, paths: list[list[Thought]]) -> list[float]:
        chain = self.model.bind(logprobs=True, top_logprobs=_TOP_LOGPROBS)
        replies = self._replies(chain, self._prompts(question, paths, self.task.review_word))
        return [self._verdict(reply) for reply in replies]

    def _by_grade(self, question: str, paths: list[list[Thought]]) -> list[float]:
        try:
            chain = self.model.with_structured_output(Grade, include_raw=True)
        except NotImplementedError as error:
            raise EvaluatorError(f"{self.name} has no structured output: {error}") from error
        replies = self._replies(chain, self._prompts(question, paths, self.task.review_grade))
        return [self._grade(reply) for reply in replies]

    def _prompts(self, question: str, paths: list[list[Thought]], ask: str) -> list[list[Message]]:
        steps = [[thought.text for thought in path] for path in paths]
        return [self.task.review_messages(question, one, ask) for one in steps]

    def _replies(self, chain: Runnable[Any, Any], prompts: list[list[Message]]) -> list[Any]:
        """The replies in order, in rounds of `concurrency`, so that a cancelled run soon ends."""
        replies: list[Any] = []
        for start in range(0, len(prompts), self.concurrency):
            scope = current_scope()
            if scope and (reason := scope.stop_reason()):
                raise RunStopped(reason)
            started = time.perf_counter()
            try:
                some = chain.batch(
                    prompts[start : start + self.concurrency],
                    {"max_concurrency": self.concurrency},
                )
            except (ForethoughtError, RunStopped):
                raise
            except Exception as error:
                raise EvaluatorError(f"{self.name} failed: {error!r}") from error
            usage = sum((_usage(reply) for reply in some), Usage())
            elapsed = Usage(seconds=time.perf_counter() - started)
            record_usage(self._model_name(), usage + elapsed)
            replies += some
        return replies

    def _verdict(self, reply: Any) -> float:
        answers = {"yes": self.task.review_yes, "no": self.task.review_no}
        sums = dict.fromkeys(answers, 0.0)
        for choice in _alternatives(reply):
            for answer, words in answers.items():
                if _bare(choice.token) in words:
                    sums[answer] += math.exp(choice.logprob)
        if not any(sums.values()):
            raise EvaluatorError(
                f"{self.name} gave no log-probability of yes or no as the first token of "
                f"{getattr(reply, 'content', reply)!r}: use how='structured'"
            )
        return shares_of(list(sums.values()), self.name)[0]

    def _grade(self, reply: Any) -> float:
        parsed = reply.get("parsed") if isinstance(reply, dict) else reply
        if not isinstance(parsed, Grade):
            error = reply.get("parsing_error") if isinstance(reply, dict) else None
            raise EvaluatorError(
                f"{self.name} gave no grade but {reply!r}: use another chat model"
            ) from error
        return parsed.grade / _HIGHEST

    def _model_name(self) -> str:
        known = (getattr(self.model, key, None) for key in ("model_name", "model"))
        return next((name for name in known if isinstance(name, str) and name), None) or (
            self.model.get_name()
        )


class _Choice(BaseModel):
    token: str
    logprob: float = Field(le=0.01, allow_inf_nan=False)  # rounding may leave it just above 0


class _Position(BaseModel):
    top_logprobs: list[_Choice] = Field(min_length=2)  # of a single one nothing can be told


class _LogProbs(BaseModel):
    content: list[_Position] = Field(min_length=1)


def _alternatives(reply: Any) -> list[_Choice]:
    """What the reply's first token might have been; nothing where the provider does not say."""
    try:
        found = _LogProbs.model_validate(reply.response_metadata.get("logprobs"))
    except ValidationError:
        return []
    return found.content[0].top_logprobs


def _bare(token: str) -> str:
    """A token without white space, quotes and the marks of vocabularies for a leading space."""
    return re.sub(r"[\W_ĠĊ▁]", "", token).casefold()


def _usage(reply: Any) -> Usage:
    message = reply.get("raw") if isinstance(reply, dict) else reply
    counts = getattr(message, "usage_metadata", None) or {}
    cached = (counts.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(
        prompt_tokens=counts.get("input_tokens", 0) - cached,
        cached_tokens=cached,
        generated_tokens=counts.get("output_tokens", 0),
    )


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, _REFUSALS) or getattr(error, "status_code", None) in _REFUSED_STATUS
