"""A local draft and a target behind a server: `python examples/remote_target.py URL#MODEL`.

With `--scripted` in place of the address the target is a fake chat model of LangChain's.
"""

import sys

from langchain_core.language_models import FakeListChatModel

from forethought import Engine, ScriptedModel, SearchConfig, resolve, solve, spec_search
from forethought.evaluators import Equations
from forethought.remote import FallbackModel, LangChainChat, OpenAIServer, RemoteModel
from forethought.remote.settings import address_of

QUESTION = "A shelf holds 4 rows of 9 jars. 7 jars break. How many are left?"

if "--scripted" in sys.argv:
    says = ["There are 4 * 9 = 36 jars, and 36 - 7 = 29 are left: \\boxed{29}."]
    backend = LangChainChat(FakeListChatModel(responses=says))
    with RemoteModel(backend) as target:
        draft = ScriptedModel(lambda *_: "4 * 9 = 35.\n\n", name="small")
        graph = spec_search(draft=draft, target=target, evaluator=Equations())
        print(solve(QUESTION, graph, config=SearchConfig(tree_width=2)).answer.answer)
else:
    with (
        Engine(resolve("qwen2.5-coder-0.5b")) as engine,
        RemoteModel(OpenAIServer(*address_of(sys.argv[1]))) as target,
    ):
        stand_in = FallbackModel(target, engine)
        graph = spec_search(draft=engine, target=stand_in, evaluator=Equations())
        print(solve(QUESTION, graph).answer.answer)
