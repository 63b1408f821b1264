"""One valid module per use of the operations: the examples of docs/ops.md.

Every operation of the table stands in one of them; a test parses and verifies each. A statement's
further lines stand four spaces deeper than its first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

EXAMPLES: Mapping[str, str] = {
    "A prompt's beginning that a call continues": """
func.func @main(%paper: !agent.text {agent.name = "paper"},
    %question: !agent.text {agent.name = "question"}) -> !agent.text {
  %kv = "agent.cache"(%paper)
      {model = "smollm2-135m", name = "read", names = ["paper"],
       template = [{role = "user", text = "Read this: {paper}"}]}
      : (!agent.text) -> !agent.kv
  %answer = "agent.llm"(%kv, %question)
      {format = "text", max_tokens = 64 : i64, model = "smollm2-135m", name = "answer",
       names = ["cache", "question"], template = [{role = "user", text = " Now: {question}"}]}
      : (!agent.kv, !agent.text) -> !agent.text
  return %answer : !agent.text
}
""",
    "A tool, and a person who is asked": """
func.func @main(%city: !agent.text {agent.name = "city"}) -> i1 {
  %note = "agent.constant"() {value = {unit = "celsius"}} : () -> !agent.json
  %unit = "agent.compute"(%note) {fn = "get", key = "unit"} : (!agent.json) -> !agent.json
  %text = "agent.cast"(%unit) : (!agent.json) -> !agent.text
  %found = "agent.tool"(%city, %text)
      {effects = "read", idempotent = true, name = "weather", names = ["city", "unit"],
       retries = 2 : i64, signature = "5f1c", timeout_s = 10.0 : f64, tool = "weather"}
      : (!agent.text, !agent.text) -> !agent.text
  %go = "agent.ask"(%found)
      {name = "ask", names = ["question"], schema = {type = "boolean"}}
      : (!agent.text) -> i1
  return %go : i1
}
""",
    "A plan written at run time, and a nested agent": """
func.func @main(%plan: !agent.text {agent.name = "plan"}) -> !agent.text {
  %results = "agent.expand"(%plan)
      {granted = [], max_steps = 4 : i64, name = "expand", names = ["plan"],
       tools = [{effects = "read", given = [], idempotent = true, name = "look",
                 parameters = {word = {type = "string"}}, required = ["word"],
                 retries = 0 : i64, signature = "77aa", timeout_s = 5.0 : f64, tool = "look"}]}
      : (!agent.text) -> !agent.json
  %answer = "agent.call"(%results)
      {callee = @join, name = "join", pattern = "single"}
      : (!agent.json) -> !agent.text
  return %answer : !agent.text
}
func.func private @join(%parts: !agent.json {agent.name = "parts"}) -> !agent.text {
  %text = "agent.llm"(%parts)
      {format = "text", max_tokens = 32 : i64, model = "smollm2-135m", name = "join",
       names = ["parts"], template = [{role = "user", text = "Sum up: {parts}"}]}
      : (!agent.json) -> !agent.text
  return %text : !agent.text
}
""",
    "Memory at the agent level": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.list {
  %known = "agent.recall"(%question)
      {by = "vector", limit = 5 : i64, model = "minilm", name = "recall", names = ["query"],
       space = "notes"}
      : (!agent.text) -> !agent.list
  %key = "agent.remember"(%question)
      {name = "remember", names = ["value"], space = "questions"}
      : (!agent.text) -> !agent.text
  %number = "agent.observe"(%question, %known)
      {name = "observe", names = ["event", "result"], space = "log"}
      : (!agent.text, !agent.list) -> i64
  return %known : !agent.list
}
""",
    "A map and a loop": """
func.func @main(%words: !agent.list {agent.name = "words"},
    %text: !agent.text {agent.name = "text"}) -> !agent.list {
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %count = "agent.length"(%words) : (!agent.list) -> i64
  %none = "agent.empty"() : () -> !agent.list
  %made = scf.for %i = %zero to %count step %one iter_args(%so_far = %none) -> (!agent.list) : i64 {
    %word = "agent.element"(%words, %i) : (!agent.list, i64) -> !agent.text
    %more = "agent.append"(%so_far, %word) : (!agent.list, !agent.text) -> !agent.list
    scf.yield %more : !agent.list
  } {agent.name = "map", agent.parallel}
  %last = scf.while (%now = %text) : (!agent.text) -> !agent.text {
    %same = "agent.compute"(%now, %text) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %done = "agent.until"(%same) : (i1) -> i1
    scf.condition(%done) %now : !agent.text
  } do {
  ^body(%now: !agent.text):
    scf.yield %now : !agent.text
  } attributes {agent.max_trips = 3 : i64, agent.name = "loop"}
  return %made : !agent.list
}
""",
    "A model call as stages, on two devices": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.text {
  %near = "stage.transfer"(%question)
      {name = "move", source = "cpu/0", target = "h100/0"}
      : (!agent.text) -> !agent.text
  %tokens = "stage.tokenize"(%near)
      {model = "llama-8b", name = "tokenize", names = ["question"],
       template = [{role = "user", text = "{question}"}]}
      : (!agent.text) -> !stage.tokens
  %kv = "stage.prefill"(%tokens)
      {model = "llama-8b", name = "prefill"}
      : (!stage.tokens) -> !agent.kv
  %moved = "stage.kv_transfer"(%kv)
      {model = "llama-8b", name = "kv", source = "h100/0", target = "a100/0"}
      : (!agent.kv) -> !agent.kv
  %written = "stage.decode"(%moved)
      {max_tokens = 64 : i64, model = "llama-8b", name = "decode", names = []}
      : (!agent.kv) -> !stage.tokens
  %answer = "stage.detokenize"(%written)
      {format = "text", model = "llama-8b", name = "detokenize"}
      : (!stage.tokens) -> !agent.text
  return %answer : !agent.text
}
""",
    "Stages of a host": """
func.func @main(%plan: !agent.text {agent.name = "plan"}) -> i1 {
  %word = "stage.constant"() {value = "tides"} : () -> !agent.text
  %found = "stage.tool"(%word)
      {effects = "none", idempotent = true, name = "look", names = ["word"], retries = 0 : i64,
       signature = "77aa", timeout_s = 5.0 : f64, tool = "look"}
      : (!agent.text) -> !agent.text
  %results = "stage.expand"(%plan, %found)
      {granted = [], max_steps = 4 : i64, name = "expand", names = ["plan", "page"],
       tools = [{effects = "read", given = ["page"], idempotent = true, name = "search",
                 parameters = {}, required = [], retries = 0 : i64, signature = "12bc",
                 timeout_s = 5.0 : f64, tool = "search"}]}
      : (!agent.text, !agent.text) -> !agent.json
  %shown = "stage.compute"(%results, %found)
      {fn = "list"}
      : (!agent.json, !agent.text) -> !agent.list
  %fine = "stage.ask"(%shown)
      {name = "ask", names = ["question"], schema = {type = "boolean"}}
      : (!agent.list) -> i1
  return %fine : i1
}
""",
    "Memory as stages": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.list {
  %vector = "stage.embed"(%question)
      {model = "minilm", name = "embed"}
      : (!agent.text) -> !stage.vector
  %known = "stage.lookup"(%question, %vector)
      {by = "vector", limit = 5 : i64, name = "recall", names = ["query", "vector"],
       space = "notes"}
      : (!agent.text, !stage.vector) -> !agent.list
  %key = "stage.store"(%question, %vector)
      {name = "remember", names = ["value", "vector"], space = "questions"}
      : (!agent.text, !stage.vector) -> !agent.text
  %number = "stage.observe"(%question, %known)
      {name = "observe", names = ["event", "result"], space = "log"}
      : (!agent.text, !agent.list) -> i64
  return %known : !agent.list
}
""",
    "Two shards": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.text {
  %tokens = "stage.tokenize"(%question)
      {model = "llama-70b", name = "tokenize", names = ["question"],
       template = [{role = "user", text = "{question}"}]}
      : (!agent.text) -> !stage.tokens
  %left:2 = "stage.prefill_shard"(%tokens)
      {degree = 2 : i64, model = "llama-70b", name = "prefill.0", rank = 0 : i64}
      : (!stage.tokens) -> (!agent.kv, !stage.hidden)
  %right:2 = "stage.prefill_shard"(%tokens)
      {degree = 2 : i64, model = "llama-70b", name = "prefill.1", rank = 1 : i64}
      : (!stage.tokens) -> (!agent.kv, !stage.hidden)
  %sum = "stage.all_reduce"(%left#1, %right#1)
      {degree = 2 : i64, name = "prefill.sum"}
      : (!stage.hidden, !stage.hidden) -> !stage.hidden
  %kv = "stage.join_kv"(%sum, %left#0, %right#0)
      {model = "llama-70b", name = "prefill.join"}
      : (!stage.hidden, !agent.kv, !agent.kv) -> !agent.kv
  %one = "stage.decode_shard"(%kv)
      {degree = 2 : i64, model = "llama-70b", name = "decode.0", rank = 0 : i64}
      : (!agent.kv) -> !stage.hidden
  %two = "stage.decode_shard"(%kv)
      {degree = 2 : i64, model = "llama-70b", name = "decode.1", rank = 1 : i64}
      : (!agent.kv) -> !stage.hidden
  %states = "stage.all_reduce"(%one, %two)
      {degree = 2 : i64, name = "decode.sum"}
      : (!stage.hidden, !stage.hidden) -> !stage.hidden
  %written = "stage.sample"(%states)
      {max_tokens = 64 : i64, model = "llama-70b", name = "sample", names = []}
      : (!stage.hidden) -> !stage.tokens
  %answer = "stage.detokenize"(%written)
      {format = "text", model = "llama-70b", name = "detokenize"}
      : (!stage.tokens) -> !agent.text
  return %answer : !agent.text
}
""",
    "Two experts": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.text {
  %tokens = "stage.tokenize"(%question)
      {model = "mixture", name = "tokenize", names = ["question"],
       template = [{role = "user", text = "{question}"}]}
      : (!agent.text) -> !stage.tokens
  %route = "stage.gate"(%tokens)
      {experts = 2 : i64, model = "mixture", name = "prefill.gate", top_k = 1 : i64}
      : (!stage.tokens) -> !stage.routing
  %left:2 = "stage.expert_prefill"(%tokens, %route)
      {expert = 0 : i64, experts = 2 : i64, model = "mixture", name = "prefill.0"}
      : (!stage.tokens, !stage.routing) -> (!agent.kv, !stage.hidden)
  %right:2 = "stage.expert_prefill"(%tokens, %route)
      {expert = 1 : i64, experts = 2 : i64, model = "mixture", name = "prefill.1"}
      : (!stage.tokens, !stage.routing) -> (!agent.kv, !stage.hidden)
  %merged = "stage.merge"(%route, %left#1, %right#1)
      {experts = 2 : i64, name = "prefill.merge"}
      : (!stage.routing, !stage.hidden, !stage.hidden) -> !stage.hidden
  %kv = "stage.join_kv"(%merged, %left#0, %right#0)
      {model = "mixture", name = "prefill.join"}
      : (!stage.hidden, !agent.kv, !agent.kv) -> !agent.kv
  %again = "stage.gate"(%kv)
      {experts = 2 : i64, model = "mixture", name = "decode.gate", top_k = 1 : i64}
      : (!agent.kv) -> !stage.routing
  %one = "stage.expert_decode"(%kv, %again)
      {expert = 0 : i64, experts = 2 : i64, model = "mixture", name = "decode.0"}
      : (!agent.kv, !stage.routing) -> !stage.hidden
  %two = "stage.expert_decode"(%kv, %again)
      {expert = 1 : i64, experts = 2 : i64, model = "mixture", name = "decode.1"}
      : (!agent.kv, !stage.routing) -> !stage.hidden
  %states = "stage.merge"(%again, %one, %two)
      {experts = 2 : i64, name = "decode.merge"}
      : (!stage.routing, !stage.hidden, !stage.hidden) -> !stage.hidden
  %written = "stage.sample"(%states)
      {max_tokens = 64 : i64, model = "mixture", name = "sample", names = []}
      : (!stage.hidden) -> !stage.tokens
  %answer = "stage.detokenize"(%written)
      {format = "text", model = "mixture", name = "detokenize"}
      : (!stage.tokens) -> !agent.text
  return %answer : !agent.text
}
""",
    "A small model drafts, a large one verifies": """
func.func @main(%question: !agent.text {agent.name = "question"}) -> !agent.text {
  %tokens = "stage.tokenize"(%question)
      {model = "llama-8b", name = "tokenize", names = ["question"],
       template = [{role = "user", text = "{question}"}]}
      : (!agent.text) -> !stage.tokens
  %kv = "stage.prefill"(%tokens)
      {model = "llama-8b", name = "prefill"}
      : (!stage.tokens) -> !agent.kv
  %small = "stage.tokenize"(%question)
      {model = "llama-1b", name = "draft.tokenize", names = ["question"],
       template = [{role = "user", text = "{question}"}]}
      : (!agent.text) -> !stage.tokens
  %ahead = "stage.prefill"(%small)
      {model = "llama-1b", name = "draft.prefill"}
      : (!stage.tokens) -> !agent.kv
  %drafted = "stage.draft"(%ahead)
      {model = "llama-1b", name = "draft", width = 4 : i64}
      : (!agent.kv) -> !stage.tokens
  %written = "stage.verify"(%kv, %drafted)
      {max_tokens = 64 : i64, model = "llama-8b", name = "verify", names = []}
      : (!agent.kv, !stage.tokens) -> !stage.tokens
  %answer = "stage.detokenize"(%written)
      {format = "text", model = "llama-8b", name = "detokenize"}
      : (!stage.tokens) -> !agent.text
  return %answer : !agent.text
}
""",
}
"""By title: the text of a module."""


def example_of(name: str) -> tuple[str, str]:
    """Give the first statement of an operation, and the title of the module it stands in.

    Raises KeyError where no example has the operation.
    """
    for title, text in EXAMPLES.items():
        lines = iter(text.splitlines())
        for line in lines:
            if f'"{name}"(' in line:
                return _statement(line, lines), title
    raise KeyError(name)


def _statement(first: str, rest: Iterable[str]) -> str:
    indent = len(first) - len(first.lstrip())
    lines = [first]
    for line in rest:
        if len(line) - len(line.lstrip()) < indent + 4:
            break
        lines.append(line)
    return "\n".join(line[indent:] for line in lines)
