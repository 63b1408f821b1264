"""Malformed modules: what each breaks, where, and whether IRDL can say so too."""

from __future__ import annotations

from tests.ir.malformed_parts import BAD_PARTS
from tests.ir.malformed_values import BAD_VALUES
from tests.ir.modules import (
    AGENT_ROW,
    BRANCH,
    CACHE,
    DRAFT,
    EXPERTS,
    HELPER,
    LLM,
    LOOP,
    MAP,
    ROW,
    SHARDS,
    STAGES,
    TOOL,
    compute,
    expand,
    function,
    llm,
    recall,
    speculative,
    tool,
)

YES, NO = True, False

BAD: dict[str, tuple[str, str, int, bool]] = {
    "unknown op": (function('"agent.dance"() : () -> ()'), "no operation of the op table", 2, YES),
    "foreign op": (function("%z = arith.addi %b, %b : i1"), "arith.addi is no operation", 2, NO),
    "no operand": (function('%0 = "agent.cast"() : () -> i1'), "takes 1 operands, not 0", 2, YES),
    "two operands": (
        function('%0 = "agent.length"(%l, %l) : (!agent.list, !agent.list) -> i64'),
        "takes 1 operands, not 2",
        2,
        YES,
    ),
    "operand type": (
        function('%0 = "agent.length"(%q) : (!agent.text) -> i64'),
        "operand 0 of agent.length is !agent.text, not !agent.list",
        2,
        YES,
    ),
    "foreign operand type": (
        function(tool(operands="%z", types="f32").join(["%z = arith.constant 1.0 : f32\n", ""])),
        "operand 0 of agent.tool is f32",
        3,
        YES,
    ),
    "result type": (
        function('%0 = "agent.length"(%l) : (!agent.list) -> i32'),
        "result 0 of agent.length is i32, not i64",
        2,
        YES,
    ),
    "no result": (function('"agent.empty"() : () -> ()'), "gives 1 results, not 0", 2, YES),
    "missing attribute": (
        function(tool(TOOL.replace("retries = 0 : i64, ", ""))),
        "needs the attribute 'retries'",
        2,
        YES,
    ),
    "unknown attribute": (function(tool(TOOL + ", color = 1")), "no attribute 'color'", 2, NO),
    "attribute kind": (
        function(tool(TOOL.replace("0 : i64", '"many"'))),
        "'retries' of agent.tool is \"many\", not of kind int",
        2,
        YES,
    ),
    "bool for int": (function(tool(TOOL.replace("0 : i64", "true"))), "not of kind int", 2, NO),
    "not json": (
        function('%0 = "agent.constant"() {value = dense<1> : tensor<1xi8>} : () -> i64'),
        "no JSON value",
        2,
        NO,
    ),
    "unknown effect": (
        function(tool(TOOL.replace('"read"', '"some"'))),
        "'some', not one of none, read, write",
        2,
        YES,
    ),
    "negative retries": (function(tool(TOOL.replace("0 : i64", "-1 : i64"))), "below 0", 2, NO),
    "zero tokens": (function(llm(LLM.replace("8 : i64", "0 : i64"))), "below 1", 2, NO),
    "region": (function('"agent.empty"() ({}) : () -> !agent.list'), "takes no region", 2, YES),
    "more names than operands": (
        function(tool(TOOL.replace('["q"]', '["q", "r"]'))),
        "names 2 of 1 operands",
        2,
        NO,
    ),
    "name twice": (
        function(tool(TOOL.replace('["q"]', '["q", "q"]'), "%q, %q", "!agent.text, !agent.text")),
        "names an operand twice",
        2,
        NO,
    ),
    "template field": (function(llm(LLM.replace("{q}", "{q} {z}"))), "uses {z}", 2, NO),
    "unused field": (function(llm(LLM.replace("{q}", "{{q}}"))), "lacks {q}", 2, NO),
    "template role": (
        function(llm(LLM.replace('"user"', '"boss"'))),
        "no list of {role, text}",
        2,
        NO,
    ),
    "empty template": (
        function(llm(LLM.replace('[{role = "user", text = "say {q}"}]', "[]"))),
        "no list of {role, text}",
        2,
        NO,
    ),
    "grammar kind": (
        function(llm(LLM + ', grammar = {kind = "yacc", text = ""}')),
        "no {kind, text}",
        2,
        NO,
    ),
    "compute function": (function(compute('fn = "launch"')), "'launch', not one of get", 2, YES),
    "compute arity": (function(compute('fn = "eq"')), "eq does not take 1 operands", 2, NO),
    "get without key": (function(compute('fn = "get"')), "`key` goes with `get` alone", 2, NO),
    "dict without keys": (function(compute('fn = "dict"')), "`keys` goes with `dict`", 2, NO),
    "call of nothing": (
        function('%0 = "agent.call"(%q) {callee = @gone, name = "g"} : (!agent.text) -> i64'),
        "agent.call of @gone, which is not there",
        2,
        NO,
    ),
    "call of other types": (
        function('%0 = "agent.call"(%q) {callee = @main, name = "g"} : (!agent.text) -> i64'),
        "does not fit",
        2,
        NO,
    ),
    "recursion": (
        function(
            '%0 = "agent.call"(%q, %l, %b) {callee = @main, name = "g"} '
            ": (!agent.text, !agent.list, i1) -> !agent.text"
        ),
        "@main calls itself",
        1,
        NO,
    ),
    "unbounded loop": (
        function(LOOP.replace("agent.max_trips = 2 : i64, ", ""), "%r : !agent.text"),
        "agent.max_trips of at least 1",
        3,
        NO,
    ),
    "loop of no trips": (
        function(LOOP.replace("2 : i64", "0 : i64"), "%r : !agent.text"),
        "'agent.max_trips' of scf.while is 0, below 1",
        3,
        NO,
    ),
    "loop without until": (
        function(LOOP.replace("scf.condition(%u)", "scf.condition(%d)"), "%r : !agent.text"),
        "comes from agent.until",
        6,
        NO,
    ),
    "sequential for": (
        function(MAP.replace(", agent.parallel", ""), "%r : !agent.list"),
        "needs agent.parallel",
        7,
        NO,
    ),
    "map from one": (
        function(MAP.replace("= %c0 to", "= %c1 to"), "%r : !agent.list"),
        "runs from 0 by 1",
        7,
        NO,
    ),
    "map of another list": (
        function(
            '%m = "agent.empty"() : () -> !agent.list\n'
            + MAP.replace("element(%l".replace("(", '"('), 'element"(%m'),
            "%r : !agent.list",
        ),
        "agent.length of its list",
        8,
        NO,
    ),
    "append alone": (
        function('%0 = "agent.append"(%l, %q) : (!agent.list, !agent.text) -> !agent.list'),
        "stands outside of an scf.for",
        2,
        NO,
    ),
    "until alone": (
        function('%0 = "agent.until"(%b) : (i1) -> i1'),
        "stands outside of an scf.while",
        2,
        NO,
    ),
    "branch without name": (
        function(
            "%r = scf.if %b -> (!agent.text) { scf.yield %q : !agent.text } "
            "else { scf.yield %q : !agent.text }"
        ),
        "needs the attribute 'agent.name'",
        2,
        NO,
    ),
    "models differ": (
        function(
            STAGES.replace('model = "m", name = "p"', 'model = "n", name = "p"'),
            "%r : !agent.text",
        ),
        "differ in model",
        4,
        NO,
    ),
    "unknown option": (
        function(
            STAGES.replace('"(%kv)', '"(%kv, %q)')
            .replace("names = []", 'names = ["mood"]')
            .replace("(!agent.kv) -> !stage.tokens", "(!agent.kv, !agent.text) -> !stage.tokens"),
            "%r : !agent.text",
        ),
        "no option 'mood'",
        5,
        NO,
    ),
    "handle as input": (
        (
            'func.func @main(%q: !agent.kv {agent.name = "q"}) -> i64 {\n'
            '%0 = "agent.constant"() {value = 1 : i64} : () -> i64\nreturn %0 : i64\n}'
        ),
        "takes or gives a !agent.kv",
        1,
        NO,
    ),
    "nameless input": (
        "func.func @main(%q: i64) -> i64 { return %q : i64 }",
        "no agent.name",
        1,
        NO,
    ),
    "names of inputs": (
        (
            'func.func @main(%q: i64 {agent.name = "a"}, %p: i64 {agent.name = "a"}) -> i64 '
            "{ return %q : i64 }"
        ),
        "two inputs are named 'a'",
        1,
        NO,
    ),
    "no result of function": ("func.func @main() { return }", "gives 0 values, not one", 1, NO),
    "declaration": ("func.func private @main() -> i64", "has no body", 1, NO),
    "two workflows": (
        (
            'func.func @a(%q: i64 {agent.name = "q"}) -> i64 { return %q : i64 }\n'
            'func.func @b(%q: i64 {agent.name = "q"}) -> i64 { return %q : i64 }'
        ),
        "this one has 2",
        2,
        NO,
    ),
    "dominance": (
        function('%1 = "agent.cast"(%0) : (!agent.text) -> !agent.json\n' + tool()),
        "does not dominate",
        2,
        YES,
    ),
    "yield type": (
        function(LOOP.replace("scf.yield %s : !agent.text", "scf.yield %b : i1")),
        "",
        3,
        YES,
    ),
    "no function": ("module {\n}", "this one has 0", 1, NO),
    "global": (
        '"agent.constant"() {value = 1 : i64} : () -> i64',
        "a module holds functions only",
        1,
        NO,
    ),
    "old version": (
        "module attributes {agent.version = 1 : i64} {\n" + function(tool()) + "\n}",
        "agent.version is 1 : i64, not 2",
        1,
        NO,
    ),
    "module attribute": (
        "module attributes {agent.color = 1 : i64} {\n" + function(tool()) + "\n}",
        "a module has no attribute 'agent.color'",
        1,
        NO,
    ),
    "levels mix": (
        function(tool() + "\n" + STAGES, "%r : !agent.text"),
        "stage.tokenize belongs to the stage level",
        4,
        NO,
    ),
    "unknown annotation": (
        function(tool(TOOL + ", agent.weight = 1.0 : f64")),
        "no attribute 'agent.weight'",
        2,
        NO,
    ),
    "annotation below 0": (
        function(tool(TOOL + ", agent.flops = -1.0 : f64")),
        "'agent.flops' of agent.tool is -1.0, below 0.0",
        2,
        NO,
    ),
    "annotation above 1": (
        function(tool(TOOL + ", agent.deadline_share = 2.0 : f64")),
        "above 1.0",
        2,
        NO,
    ),
    "annotation kind": (
        function(tool(TOOL + ", agent.critical = 1 : i64")),
        "not of kind bool",
        2,
        NO,
    ),
    "narrow int": (function(tool(TOOL.replace("0 : i64", "0 : i32"))), "not of kind int", 2, NO),
    "narrow float": (
        function(tool(TOOL.replace("1.0 : f64", "1.0 : f32"))),
        "not of kind float",
        2,
        NO,
    ),
    "endless timeout": (
        function(tool(TOOL.replace("1.0 : f64", "0x7FF0000000000000 : f64"))),
        "not of kind float",
        2,
        NO,
    ),
    "names of numbers": (
        function(tool(TOOL.replace('["q"]', "[1 : i64]"))),
        "not of kind strs",
        2,
        NO,
    ),
    "tool is a symbol": (
        function(tool(TOOL.replace('tool = "t"', "tool = @t"))),
        "not of kind str",
        2,
        YES,
    ),
    "callee is a text": (
        function('%0 = "agent.call"(%q) {callee = "main", name = "g"} : (!agent.text) -> i64'),
        "not of kind symbol",
        2,
        YES,
    ),
    "idempotent is no bool": (
        function(tool(TOOL.replace("idempotent = true", 'idempotent = "yes"'))),
        "not of kind bool",
        2,
        YES,
    ),
    "missing names": (
        function(tool(TOOL.replace('names = ["q"], ', ""))),
        "needs the attribute 'names'",
        2,
        YES,
    ),
    "missing model": (
        function(llm(LLM.replace('model = "m", ', ""))),
        "needs the attribute 'model'",
        2,
        YES,
    ),
    "answer format": (
        function(llm(LLM.replace('"text", max', '"yaml", max'))),
        "'yaml', not one of text, json",
        2,
        YES,
    ),
    "top_p": (
        function(llm(LLM + ", top_p = 1.5 : f64")),
        "'top_p' of agent.llm is 1.5, above 1.0",
        2,
        NO,
    ),
    "max_trips on a branch": (
        function(BRANCH.replace('"b"', '"b", agent.max_trips = 2 : i64'), "%r : !agent.text"),
        "scf.if has no attribute 'agent.max_trips'",
        3,
        NO,
    ),
    "parallel says something": (
        function(MAP.replace("agent.parallel", "agent.parallel = true"), "%r : !agent.list"),
        "not a mark",
        7,
        NO,
    ),
    "function attribute": (
        function(tool()).replace(
            "-> !agent.text {\n", "-> !agent.text attributes {agent.mood = 1 : i64} {\n"
        ),
        "func.func has no attribute 'agent.mood'",
        1,
        NO,
    ),
    "function pattern": (
        function(tool()).replace(
            "-> !agent.text {\n", '-> !agent.text attributes {agent.pattern = "mob"} {\n'
        ),
        "'mob', not one of single",
        1,
        NO,
    ),
    "input attribute": (
        function(tool()).replace('"q"}', '"q", agent.mood = 1 : i64}'),
        "input 0 has no attribute 'agent.mood'",
        1,
        NO,
    ),
    "input schema": (
        function(tool()).replace('"q"}', '"q", agent.schema = 1 : i64}'),
        "the schema of input 0",
        1,
        NO,
    ),
    "public twice": (
        function(tool()).replace("func.func @", "func.func nested @"),
        "a function is private",
        1,
        NO,
    ),
    "branch of two": (
        function(
            "%r, %s = scf.if %b -> (!agent.text, i1) { scf.yield %q, %b : !agent.text, i1 } "
            'else { scf.yield %q, %b : !agent.text, i1 } {agent.name = "b"}',
            "%r : !agent.text",
        ),
        "a branch gives one value",
        2,
        NO,
    ),
    "branch of caches": (
        function(
            STAGES + "%k = scf.if %b -> (!agent.kv) { scf.yield %kv : !agent.kv } "
            'else { scf.yield %kv : !agent.kv } {agent.name = "b"}',
            "%r : !agent.text",
        ),
        "scf.if gives a !agent.kv",
        7,
        NO,
    ),
    "many blocks": (
        (
            "func.func @main() -> i64 {\ncf.br ^a\n^a:\n"
            '%0 = "agent.constant"() {value = 1 : i64} : () -> i64\nreturn %0 : i64\n}'
        ),
        "no or many blocks",
        1,
        NO,
    ),
    "loop of two": (
        function(
            LOOP.replace(
                "(%s = %q) : (!agent.text) -> !agent.text",
                "(%s = %q, %z = %b) : (!agent.text, i1) -> (!agent.text, i1)",
            )
            .replace(
                "scf.condition(%u) %s : !agent.text", "scf.condition(%u) %s, %z : !agent.text, i1"
            )
            .replace("^bb0(%s: !agent.text)", "^bb0(%s: !agent.text, %z: i1)")
            .replace("scf.yield %s : !agent.text", "scf.yield %s, %z : !agent.text, i1")
            .replace("%r = scf", "%r:2 = scf"),
            "%r#0 : !agent.text",
        ),
        "a loop carries one value",
        3,
        NO,
    ),
    "until in a body": (
        function(
            LOOP.replace(
                "    scf.yield %s", '    %v = "agent.until"(%b) : (i1) -> i1\n    scf.yield %s'
            ),
            "%r : !agent.text",
        ),
        "stands in the body of a loop",
        9,
        NO,
    ),
    "map that ends early": (
        function(MAP.replace("scf.yield %g", "scf.yield %acc"), "%r : !agent.list"),
        "appends one value last",
        7,
        NO,
    ),
    "empty name": (function(tool(TOOL.replace('["q"]', '[""]'))), "has an empty name", 2, NO),
    "llm that waits": (
        function(
            '%0 = "agent.llm"(%q, %l) {' + LLM + "} : (!agent.text, !agent.list) -> !agent.text"
        ),
        "names 1 of 2 operands",
        2,
        NO,
    ),
    "free text": (function(llm(LLM + ', free = ["z"]')), "'z' is free in agent.llm", 2, NO),
    "two grammars": (
        function(
            '%0 = "agent.llm"(%q, %q) {'
            + LLM.replace('["q"]', '["q", "grammar"]')
            + ', grammar = {kind = "regex", text = "a"}} : (!agent.text, !agent.text) -> !agent.text'
        ),
        "has two grammars",
        2,
        NO,
    ),
    "schema of an answer": (function(llm(LLM + ", schema = 3 : i64")), "is no JSON Schema", 2, NO),
    "constant of another type": (
        function('%0 = "agent.constant"() {value = "x"} : () -> i64'),
        "agent.constant of type int has another value",
        2,
        NO,
    ),
    "bool constant as int": (
        function('%0 = "agent.constant"() {value = true} : () -> i64'),
        "agent.constant of type int has another value",
        2,
        NO,
    ),
    "label": (function(tool(TOOL + ', labels = ["shiny"]')), "'shiny' is no label", 2, NO),
    "ask without question": (
        function(
            '%0 = "agent.ask"(%q) {name = "a", names = ["q"], schema = {}} : (!agent.text) -> i1'
        ),
        "does not name question",
        2,
        NO,
    ),
    "ask of no schema": (
        function(
            '%0 = "agent.ask"(%q) {name = "a", names = ["question"], schema = 1 : i64} : (!agent.text) -> i1'
        ),
        "the schema of agent.ask is no JSON Schema",
        2,
        NO,
    ),
    "transfer to itself": (
        function(
            '%t = "stage.transfer"(%q) {name = "t", source = "a", target = "a"} : (!agent.text) -> !agent.text'
        ),
        "leads from a to itself",
        2,
        NO,
    ),
    "transfer changes": (
        function(
            '%t = "stage.transfer"(%q) {name = "t", source = "a", target = "b"} : (!agent.text) -> i64'
        ),
        "changes the type",
        2,
        NO,
    ),
    "kv_transfer of text": (
        function(
            '%t = "stage.kv_transfer"(%q) {model = "m", name = "t", source = "a", target = "b"} : (!agent.text) -> !agent.kv'
        ),
        "operand 0 of stage.kv_transfer is !agent.text",
        2,
        YES,
    ),
    "recall of nothing": (function(recall("names = []")), "cannot name its operands", 2, NO),
    "recall from nowhere": (
        function(recall(space="No Space")),
        "the space of agent.recall is 'No Space'",
        2,
        NO,
    ),
    "recall of all": (
        function(recall(limit=5000)),
        "the limit of agent.recall is above 1000",
        2,
        NO,
    ),
    "recall by guess": (
        function(recall(by="guess")),
        "'guess', not one of key, text, vector",
        2,
        YES,
    ),
    "recall by no model": (function(recall(by="vector")), "names a model by vector", 2, NO),
    "lookup by no vector": (
        function(recall(op="stage.lookup", by="vector")),
        "reads a vector by vector",
        2,
        NO,
    ),
    "vector by another name": (
        function(
            '%v = "stage.embed"(%q) {model = "m", name = "e"} : (!agent.text) -> !stage.vector\n'
            '%0 = "stage.store"(%v) {name = "s", names = ["value"], space = "s"} : (!stage.vector) -> !agent.text'
        ),
        "the name `vector` do not go together",
        3,
        NO,
    ),
    "plan without name": (function(expand(names='["p"]')), "does not name its plan first", 2, NO),
    "no tools": (function(expand(tools="[]")), "are no list of tools", 2, NO),
    "half a tool": (function(expand(tools='[{name = "t"}]')), "are no list of tools", 2, NO),
    "label of a row": (
        function(expand(tools=ROW.replace("]}]", "]", 1)[:-2] + ', labels = ["x"]}]')),
        "are no list of tools",
        2,
        NO,
    ),
    "tool twice": (
        function(expand(tools=ROW[:-1] + ", " + ROW[1:])),
        "two tools of agent.expand have one name",
        2,
        NO,
    ),
    "nothing given": (
        function(expand(tools=ROW.replace("given = []", 'given = ["db"]'))),
        "does not give 'db' to its tools",
        2,
        NO,
    ),
    "grant of a reader": (
        function(expand(granted='["look"]', tools=ROW.replace("write", "read"))),
        "grants 'look'",
        2,
        NO,
    ),
    "grant of nothing": (function(expand(granted='["gone"]')), "grants 'gone'", 2, NO),
    "grant of some times": (function(expand(granted='["look:many"]')), "grants 'look:many'", 2, NO),
    "no grants": (function(expand(granted=None)), "needs the attribute 'granted'", 2, YES),
    "expand form": (
        function(expand(more=', form = "poem"')),
        "'poem', not one of steps, lines",
        2,
        NO,
    ),
    "tokens as steps": (
        function(STAGES + expand(op="stage.expand", plan="%o : !stage.tokens"), "%r : !agent.text"),
        "reads tokens as its plan in lines",
        7,
        NO,
    ),
    "agent that is not there": (
        function(expand(tools=AGENT_ROW)),
        "names the agent @helper, which is not there",
        2,
        NO,
    ),
    "agent of other inputs": (
        function(expand(tools=AGENT_ROW)) + "\n" + HELPER.replace('"topic"', '"subject"'),
        "does not give the inputs of the agent @helper",
        2,
        NO,
    ),
    "agent that calls itself": (
        function(expand(tools=AGENT_ROW.replace("@helper", "main").replace("helper", "main"))),
        "@main calls itself",
        1,
        NO,
    ),
    "cache by another name": (
        function(
            CACHE
            + '%0 = "agent.llm"(%c, %q) {'
            + LLM.replace('["q"]', '["past", "q"]').replace("{q}", "{q} {past}")
            + "} : (!agent.kv, !agent.text) -> !agent.text"
        ),
        "`cache` is the name of a kv",
        3,
        NO,
    ),
    "cache of another model": (
        function(
            CACHE.replace('"m"', '"n"')
            + '%0 = "agent.llm"(%c, %q) {'
            + LLM.replace('["q"]', '["cache", "q"]')
            + "} : (!agent.kv, !agent.text) -> !agent.text"
        ),
        "agent.llm and its agent.cache differ in model",
        3,
        NO,
    ),
    "cache of a branch": (
        function(
            CACHE
            + "%k = scf.if %b -> (!agent.kv) {\nscf.yield %c : !agent.kv\n} else {\n"
            + 'scf.yield %c : !agent.kv\n} {agent.name = "b"}\n'
            + '%0 = "agent.llm"(%k, %q) {'
            + LLM.replace('["q"]', '["cache", "q"]')
            + "} : (!agent.kv, !agent.text) -> !agent.text"
        ),
        "takes its cache from an agent.cache",
        8,
        NO,
    ),
    "cache that ends in another role": (
        function(
            CACHE.replace('role = "user"', 'role = "system"')
            + '%0 = "agent.llm"(%c, %q) {'
            + LLM.replace('["q"]', '["cache", "q"]')
            + "} : (!agent.kv, !agent.text) -> !agent.text"
        ),
        "begins as another role than its cache ends",
        3,
        NO,
    ),
    "answer to an open prompt": (
        function(
            STAGES.replace('"stage.tokenize"(%q) {', '"stage.tokenize"(%q) {open = true, '),
            "%r : !agent.text",
        ),
        "stage.decode answers a prompt that is not complete",
        5,
        NO,
    ),
    "decode of a draft's cache": (
        function(
            '%c = "agent.cache"(%q) {model = "m", name = "c", names = ["q"], template = [{role = "user", text = "{q}"}]} : (!agent.text) -> !agent.kv\n'
            '%o = "stage.decode"(%c) {max_tokens = 8 : i64, model = "m", name = "d", names = []} : (!agent.kv) -> !stage.tokens'
        ),
        "takes its kv from a stage.prefill",
        3,
        NO,
    ),
    "prefill of two caches": (
        function(
            STAGES
            + '%k = "stage.prefill"(%t, %kv, %kv) {model = "m", name = "k"} : (!stage.tokens, !agent.kv, !agent.kv) -> !agent.kv',
            "%r : !agent.text",
        ),
        "continues 2 caches, not one",
        7,
        NO,
    ),
    "prefill of other tokens": (
        function(
            STAGES
            + '%k = "stage.prefill"(%t, %kv) {model = "m", name = "k"} : (!stage.tokens, !agent.kv) -> !agent.kv',
            "%r : !agent.text",
        ),
        "continues a cache of other tokens",
        7,
        NO,
    ),
    "decode of tokens": (
        function(
            STAGES.replace('"stage.decode"(%kv)', '"stage.decode"(%t)').replace(
                "names = []} : (!agent.kv)", "names = []} : (!stage.tokens)"
            ),
            "%r : !agent.text",
        ),
        "operand 0 of stage.decode is !stage.tokens, not !agent.kv",
        5,
        YES,
    ),
    "shard without rank": (
        function(SHARDS.replace(", rank = 0 : i64", ""), "%q : !agent.text"),
        "needs the attribute 'rank'",
        4,
        YES,
    ),
    "rank beyond": (function(SHARDS.replace("rank = 1", "rank = 2")), "rank 2 of 2 parts", 5, NO),
    "rank twice": (function(SHARDS.replace("rank = 1", "rank = 0")), "joins one rank twice", 6, NO),
    "sum of one shard": (
        function(
            SHARDS.replace('"stage.all_reduce"(%k0#1, %k1#1)', '"stage.all_reduce"(%k0#1)').replace(
                "(!stage.hidden, !stage.hidden) -> !stage.hidden",
                "(!stage.hidden) -> !stage.hidden",
                1,
            )
        ),
        "joins 1 parts, not 2",
        6,
        NO,
    ),
    "cache of one shard": (
        function(
            SHARDS.replace("(%h, %k0#0, %k1#0)", "(%h, %k0#0)").replace(
                "(!stage.hidden, !agent.kv, !agent.kv)", "(!stage.hidden, !agent.kv)"
            )
        ),
        "stage.join_kv joins 1 parts, not 2",
        7,
        NO,
    ),
    "sum of states and caches": (
        function(
            SHARDS.replace(
                '"stage.all_reduce"(%k0#1, %k1#1)', '"stage.all_reduce"(%k0#1, %k1#0)'
            ).replace("(!stage.hidden, !stage.hidden)", "(!stage.hidden, !agent.kv)", 1)
        ),
        "operand 1 of stage.all_reduce is !agent.kv",
        6,
        YES,
    ),
    "gate of too many": (
        function(EXPERTS.replace("top_k = 1", "top_k = 3")),
        "a gate picks more experts",
        4,
        NO,
    ),
    "expert twice": (
        function(EXPERTS.replace("expert = 1", "expert = 0")),
        "joins one expert twice",
        7,
        NO,
    ),
    "gate of others": (
        function(EXPERTS.replace("experts = 2 : i64, model", "experts = 4 : i64, model", 1)),
        "and its gate differ in experts",
        5,
        NO,
    ),
    "merge of another gate": (
        function(
            EXPERTS.replace(
                '"stage.merge"(%g,',
                '%i = "stage.gate"(%t) {experts = 2 : i64, model = "m", name = "g", top_k = 1 : i64} : (!stage.tokens) -> !stage.routing\n%m = "stage.merge"(%i,',
            )
            .replace("%m = %i", "%i")
            .replace("%m = %m", "%m")
        ),
        "differ in their gate",
        8,
        NO,
    ),
    "verify of no draft": (
        function(DRAFT.replace("(%kv, %p)", "(%kv, %t)")),
        "reads what a stage.draft proposed",
        7,
        NO,
    ),
    "draft of one model": (function(DRAFT.replace('"small"', '"m"')), "are of one model", 7, NO),
    "wait for nothing": (
        function(
            compute('fn = "list"')
            + "\n"
            + tool(operands="%q, %0", types="!agent.text, !agent.json").replace("%0 =", "%1 =")
        ),
        "waits for agent.compute, which has no effect",
        3,
        NO,
    ),
    "wait for a pure tool": (
        function(
            tool(TOOL.replace('"read"', '"none"'))
            + "\n"
            + tool(operands="%q, %0", types="!agent.text, !agent.text").replace("%0 =", "%1 =")
        ),
        "waits for agent.tool, which has no effect",
        3,
        NO,
    ),
    "write in a test": (
        function(
            LOOP.replace(
                "    %d =", "    " + tool(TOOL.replace('"read"', '"write"')) + "\n    %d ="
            ),
            "%r : !agent.text",
        ),
        "agent.tool writes in the test of a loop",
        4,
        NO,
    ),
    "write on speculation": (
        function(speculative(tool(TOOL.replace('"read"', '"write"'))), "%r : !agent.text"),
        "agent.tool writes in a speculative branch",
        4,
        NO,
    ),
    "ask on speculation": (
        function(
            speculative(
                '%0 = "agent.ask"(%q) {name = "a", names = ["question"], schema = {}} : (!agent.text) -> i1'
            ),
            "%r : !agent.text",
        ),
        "agent.ask asks in a speculative branch",
        4,
        NO,
    ),
    "remember on speculation": (
        function(
            speculative(
                '%0 = "agent.remember"(%q) {name = "m", names = ["value"], space = "s"} : (!agent.text) -> !agent.text'
            ),
            "%r : !agent.text",
        ),
        "agent.remember writes in a speculative branch",
        4,
        NO,
    ),
    "plan on speculation": (
        function(speculative(expand()), "%r : !agent.text"),
        "agent.expand writes in a speculative branch",
        4,
        NO,
    ),
    "call on speculation": (
        function(
            speculative(
                '%0 = "agent.call"(%q) {callee = @helper, name = "h"} : (!agent.text) -> !agent.text'
            ),
            "%r : !agent.text",
        )
        + "\n"
        + HELPER.replace('"read"', '"write"'),
        "agent.tool writes in a speculative branch (in @helper)",
        13,
        NO,
    ),
    "agent of a plan on speculation": (
        function(speculative(expand(tools=AGENT_ROW)), "%r : !agent.text")
        + "\n"
        + HELPER.replace('"read"', '"write"'),
        "agent.tool writes in a speculative branch (in @helper)",
        13,
        NO,
    ),
    "decode without end": (
        function(STAGES.replace("max_tokens = 8 : i64, ", ""), "%r : !agent.text"),
        "stage.decode needs the attribute 'max_tokens'",
        5,
        YES,
    ),
    "prefill of a text": (
        function(
            STAGES.replace('"stage.prefill"(%t)', '"stage.prefill"(%q)').replace(
                'name = "p"} : (!stage.tokens)', 'name = "p"} : (!agent.text)'
            ),
            "%r : !agent.text",
        ),
        "operand 0 of stage.prefill is !agent.text, not !stage.tokens",
        4,
        YES,
    ),
    "detokenize of a cache": (
        function(
            STAGES.replace('"stage.detokenize"(%o)', '"stage.detokenize"(%kv)').replace(
                'name = "x"} : (!stage.tokens)', 'name = "x"} : (!agent.kv)'
            ),
            "%r : !agent.text",
        ),
        "operand 0 of stage.detokenize is !agent.kv",
        6,
        YES,
    ),
    "ask without schema": (
        function('%0 = "agent.ask"(%q) {name = "a", names = ["question"]} : (!agent.text) -> i1'),
        "needs the attribute 'schema'",
        2,
        YES,
    ),
    "observation nowhere": (
        function('%0 = "agent.observe"(%q) {name = "o", names = ["event"]} : (!agent.text) -> i64'),
        "needs the attribute 'space'",
        2,
        YES,
    ),
    "gate without top_k": (
        function(EXPERTS.replace(", top_k = 1 : i64", "")),
        "needs the attribute 'top_k'",
        4,
        YES,
    ),
    "degree is a text": (
        function(SHARDS.replace('{degree = 2 : i64, name = "h"}', '{degree = "2", name = "h"}')),
        "'degree' of stage.all_reduce is \"2\", not of kind int",
        6,
        YES,
    ),
    **BAD_PARTS,
    **BAD_VALUES,
}
"""By name: the text, a part of the message, the line it names, and whether iree-opt refuses it."""
