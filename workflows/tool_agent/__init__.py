"""tool_agent: a model plans calls of tools, which run while it is still writing."""

from .workflow import ToolAnswer, make_tool_agent, tool_agent

__all__ = ["ToolAnswer", "make_tool_agent", "tool_agent"]
