"""Small modules as text: valid ones, and the pieces that malformed ones are made of."""

from __future__ import annotations

TOOL = (
    'effects = "read", idempotent = true, name = "t", names = ["q"], retries = 0 : i64, '
    'signature = "0", timeout_s = 1.0 : f64, tool = "t"'
)
LLM = (
    'format = "text", max_tokens = 8 : i64, model = "m", name = "d", names = ["q"], '
    'template = [{role = "user", text = "say {q}"}]'
)
MAP = """
    %c0 = arith.constant 0 : i64
    %c1 = arith.constant 1 : i64
    %n = "agent.length"(%l) : (!agent.list) -> i64
    %e = "agent.empty"() : () -> !agent.list
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %e) -> (!agent.list) : i64 {
      %x = "agent.element"(%l, %i) : (!agent.list, i64) -> !agent.json
      %g = "agent.append"(%acc, %x) : (!agent.list, !agent.json) -> !agent.list
      scf.yield %g : !agent.list
    } {agent.name = "map", agent.parallel}
"""
LOOP = """
    %r = scf.while (%s = %q) : (!agent.text) -> !agent.text {
      %d = "agent.compute"(%s, %s) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %u = "agent.until"(%d) : (i1) -> i1
      scf.condition(%u) %s : !agent.text
    } do {
    ^bb0(%s: !agent.text):
      scf.yield %s : !agent.text
    } attributes {agent.max_trips = 2 : i64, agent.name = "loop"}
"""
STAGES = """
    %t = "stage.tokenize"(%q) {model = "m", name = "d", names = ["q"], template = [{role = "user", text = "{q}"}]} : (!agent.text) -> !stage.tokens
    %kv = "stage.prefill"(%t) {model = "m", name = "p"} : (!stage.tokens) -> !agent.kv
    %o = "stage.decode"(%kv) {max_tokens = 8 : i64, model = "m", name = "d", names = []} : (!agent.kv) -> !stage.tokens
    %r = "stage.detokenize"(%o) {format = "text", model = "m", name = "x"} : (!stage.tokens) -> !agent.text
"""


def function(body: str, result: str = "%q : !agent.text") -> str:
    """Put operations into a workflow of a text, a list and a bool."""
    kind = result.partition(" : ")[2]
    return (
        'func.func @main(%q: !agent.text {agent.name = "q"}, %l: !agent.list {agent.name = "l"}, '
        f'%b: i1 {{agent.name = "b"}}) -> {kind} {{\n{body}\nreturn {result}\n}}'
    )


def tool(attributes: str = TOOL, operands: str = "%q", types: str = "!agent.text") -> str:
    return f'%0 = "agent.tool"({operands}) {{{attributes}}} : ({types}) -> !agent.text'


def llm(attributes: str = LLM) -> str:
    return f'%0 = "agent.llm"(%q) {{{attributes}}} : (!agent.text) -> !agent.text'


def compute(attributes: str, operands: str = "%q", types: str = "!agent.text") -> str:
    return f'%0 = "agent.compute"({operands}) {{{attributes}}} : ({types}) -> !agent.json'


BRANCH = """
    %r = scf.if %b -> (!agent.text) {
      scf.yield %q : !agent.text
    } else {
      scf.yield %q : !agent.text
    } {agent.name = "b"}
"""
CACHE = (
    '%c = "agent.cache"(%q) {model = "m", name = "c", names = ["q"], '
    'template = [{role = "user", text = "{q}"}]} : (!agent.text) -> !agent.kv\n'
)
ROW = (
    '[{effects = "write", given = [], idempotent = true, name = "look", parameters = {}, '
    'required = [], retries = 0 : i64, signature = "0", timeout_s = 1.0 : f64, tool = "look"}]'
)
AGENT_ROW = (
    '[{agent = "helper", effects = "read", given = [], name = "helper", '
    "parameters = {topic = {}}, required = []}]"
)
HELPER = (
    'func.func private @helper(%t: !agent.text {agent.name = "topic"}) -> !agent.text {\n'
    f'%0 = "agent.tool"(%t) {{{TOOL}}} : (!agent.text) -> !agent.text\nreturn %0 : !agent.text\n}}'
)
_TOKENS = STAGES.splitlines()[1] + "\n"
SHARDS = (
    _TOKENS
    + """
    %k0:2 = "stage.prefill_shard"(%t) {degree = 2 : i64, model = "m", name = "a", rank = 0 : i64} : (!stage.tokens) -> (!agent.kv, !stage.hidden)
    %k1:2 = "stage.prefill_shard"(%t) {degree = 2 : i64, model = "m", name = "b", rank = 1 : i64} : (!stage.tokens) -> (!agent.kv, !stage.hidden)
    %h = "stage.all_reduce"(%k0#1, %k1#1) {degree = 2 : i64, name = "h"} : (!stage.hidden, !stage.hidden) -> !stage.hidden
    %j = "stage.join_kv"(%h, %k0#0, %k1#0) {model = "m", name = "j"} : (!stage.hidden, !agent.kv, !agent.kv) -> !agent.kv
    %d0 = "stage.decode_shard"(%j) {degree = 2 : i64, model = "m", name = "c", rank = 0 : i64} : (!agent.kv) -> !stage.hidden
    %d1 = "stage.decode_shard"(%j) {degree = 2 : i64, model = "m", name = "d", rank = 1 : i64} : (!agent.kv) -> !stage.hidden
    %y = "stage.all_reduce"(%d0, %d1) {degree = 2 : i64, name = "y"} : (!stage.hidden, !stage.hidden) -> !stage.hidden
    %s = "stage.sample"(%y) {max_tokens = 8 : i64, model = "m", name = "s", names = []} : (!stage.hidden) -> !stage.tokens
"""
)
EXPERTS = (
    _TOKENS
    + """
    %g = "stage.gate"(%t) {experts = 2 : i64, model = "m", name = "g", top_k = 1 : i64} : (!stage.tokens) -> !stage.routing
    %e0:2 = "stage.expert_prefill"(%t, %g) {expert = 0 : i64, experts = 2 : i64, model = "m", name = "a"} : (!stage.tokens, !stage.routing) -> (!agent.kv, !stage.hidden)
    %e1:2 = "stage.expert_prefill"(%t, %g) {expert = 1 : i64, experts = 2 : i64, model = "m", name = "b"} : (!stage.tokens, !stage.routing) -> (!agent.kv, !stage.hidden)
    %m = "stage.merge"(%g, %e0#1, %e1#1) {experts = 2 : i64, name = "x"} : (!stage.routing, !stage.hidden, !stage.hidden) -> !stage.hidden
    %j = "stage.join_kv"(%m, %e0#0, %e1#0) {model = "m", name = "j"} : (!stage.hidden, !agent.kv, !agent.kv) -> !agent.kv
    %gi = "stage.gate"(%j) {experts = 2 : i64, model = "m", name = "i", top_k = 1 : i64} : (!agent.kv) -> !stage.routing
    %x0 = "stage.expert_decode"(%j, %gi) {expert = 0 : i64, experts = 2 : i64, model = "m", name = "y"} : (!agent.kv, !stage.routing) -> !stage.hidden
    %x1 = "stage.expert_decode"(%j, %gi) {expert = 1 : i64, experts = 2 : i64, model = "m", name = "z"} : (!agent.kv, !stage.routing) -> !stage.hidden
    %y = "stage.merge"(%gi, %x0, %x1) {experts = 2 : i64, name = "w"} : (!stage.routing, !stage.hidden, !stage.hidden) -> !stage.hidden
    %s = "stage.sample"(%y) {max_tokens = 8 : i64, model = "m", name = "s", names = []} : (!stage.hidden) -> !stage.tokens
"""
)
DRAFT = (
    "\n".join(STAGES.splitlines()[1:3])
    + """
    %t2 = "stage.tokenize"(%q) {model = "small", name = "d", names = ["q"], template = [{role = "user", text = "{q}"}]} : (!agent.text) -> !stage.tokens
    %kv2 = "stage.prefill"(%t2) {model = "small", name = "p"} : (!stage.tokens) -> !agent.kv
    %p = "stage.draft"(%kv2) {model = "small", name = "p", width = 4 : i64} : (!agent.kv) -> !stage.tokens
    %v = "stage.verify"(%kv, %p) {max_tokens = 8 : i64, model = "m", name = "v", names = []} : (!agent.kv, !stage.tokens) -> !stage.tokens
"""
)


def recall(
    names: str = 'names = ["query"]',
    *,
    op: str = "agent.recall",
    space: str = "notes",
    by: str = "text",
    limit: int = 5,
) -> str:
    attributes = f'by = "{by}", limit = {limit} : i64, name = "r", {names}, space = "{space}"'
    return f'%0 = "{op}"(%q) {{{attributes}}} : (!agent.text) -> !agent.list'


def expand(
    *,
    op: str = "agent.expand",
    plan: str = "%q : !agent.text",
    names: str = '["plan"]',
    tools: str = ROW,
    granted: str | None = "[]",
    more: str = "",
) -> str:
    value, _, kind = plan.partition(" : ")
    grants = "" if granted is None else f"granted = {granted}, "
    attributes = f'{grants}max_steps = 4 : i64, name = "e", names = {names}, tools = {tools}{more}'
    return f'%0 = "{op}"({value}) {{{attributes}}} : ({kind}) -> !agent.json'


def speculative(body: str) -> str:
    """Put an operation into a side of a speculative branch."""
    return BRANCH.replace("{\n      scf", f"{{\n      {body}\n      scf", 1).replace(
        '"b"', '"b", agent.speculative = true'
    )


GOOD = {
    "tool": function(tool()),
    "tool that waits": function(
        f'%w = "agent.tool"(%q) {{{TOOL}}} : (!agent.text) -> !agent.list\n'
        + tool(operands="%q, %w", types="!agent.text, !agent.list")
    ),
    "llm": function(llm()),
    "map": function(MAP, "%r : !agent.list"),
    "loop": function(LOOP, "%r : !agent.text"),
    "stages": function(STAGES, "%r : !agent.text"),
    "branch": function(BRANCH, "%r : !agent.text"),
    "speculative": function(speculative(tool()), "%r : !agent.text"),
    "cache": function(
        CACHE
        + '%0 = "agent.llm"(%c, %q) {'
        + LLM.replace('["q"]', '["cache", "q"]')
        + "} : (!agent.kv, !agent.text) -> !agent.text"
    ),
    "recall": function(recall()),
    "expand": function(expand(granted='["look", "look:2"]')),
    "agent of a plan": function(expand(tools=AGENT_ROW)) + "\n" + HELPER,
    "shards": function(SHARDS),
    "experts": function(EXPERTS),
    "draft": function(DRAFT),
    "cache of several decodes": function(
        STAGES
        + """
    %x = scf.if %b -> (!agent.text) {
      %o2 = "stage.decode"(%kv) {max_tokens = 8 : i64, model = "m", name = "d2", names = []} : (!agent.kv) -> !stage.tokens
      %r2 = "stage.detokenize"(%o2) {format = "text", model = "m", name = "x2"} : (!stage.tokens) -> !agent.text
      scf.yield %r2 : !agent.text
    } else {
      scf.yield %r : !agent.text
    } {agent.name = "b"}
""",
        "%x : !agent.text",
    ),
    "moved and continued cache": function(
        STAGES
        + """
    %k = "stage.kv_transfer"(%kv) {model = "m", name = "k", source = "a", target = "b"} : (!agent.kv) -> !agent.kv
    %t2 = "stage.tokenize"(%t, %q) {model = "m", name = "d", names = ["prefix", "q"], template = [{role = "user", text = "{q}"}]} : (!stage.tokens, !agent.text) -> !stage.tokens
    %kv2 = "stage.prefill"(%t2, %k) {model = "m", name = "p2"} : (!stage.tokens, !agent.kv) -> !agent.kv
    %o2 = "stage.decode"(%kv2) {max_tokens = 8 : i64, model = "m", name = "d2", names = []} : (!agent.kv) -> !stage.tokens
""",
        "%r : !agent.text",
    ),
    "plan in lines": function(
        STAGES + expand(op="stage.expand", plan="%o : !stage.tokens", more=', form = "lines"'),
        "%r : !agent.text",
    ),
}
"""Modules that break no rule."""
