"""SpecSearch as a LangChain runnable: `python examples/langchain.py`."""

from langchain_core.runnables import RunnableLambda

from forethought import TASKS, Engine, Judge, resolve, solve, spec_search

with (
    Engine(resolve("qwen2.5-coder-0.5b")) as draft,
    Engine(resolve("qwen2.5-coder-1.5b")) as target,
):
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))

    def think(question: str) -> str:
        return solve(question, graph).answer.answer

    chain = RunnableLambda(think) | (lambda answer: f"The search says {answer}.")
    print(chain.invoke("A shelf holds 4 rows of 9 jars. 7 jars break. How many are left?"))
