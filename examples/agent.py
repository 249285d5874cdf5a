"""An agent with a tool on the local pair: `python examples/agent.py`."""

from langchain.agents import create_agent

from forethought import ChatForethought


def opening_hours(day: str) -> str:
    """When the library is open on a day of the week."""
    return "closed" if day.casefold() == "sunday" else "9 to 17"


agent = create_agent(ChatForethought(), tools=[opening_hours])
asked = {"role": "user", "content": "How many hours is the library open from Friday to Sunday?"}
print(agent.invoke({"messages": [asked]})["messages"][-1].text)
