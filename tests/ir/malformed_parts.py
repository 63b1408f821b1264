"""Malformed modules of stages that were taken apart: shards, experts, drafts, planned agents."""

from __future__ import annotations

from tests.ir.modules import (
    AGENT_ROW,
    DRAFT,
    EXPERTS,
    HELPER,
    SHARDS,
    STAGES,
    expand,
    function,
)

NO = False
_TOKENS = SHARDS.splitlines()[0] + "\n"
_DECODE = (
    '%o = "stage.decode"({}) {{max_tokens = 8 : i64, model = "m", name = "o", names = []}} '
    ": (!agent.kv) -> !stage.tokens"
)


def without(text: str, *names: str) -> str:
    """Leave out the lines that define these values."""
    kept = [line for line in text.splitlines() if line.strip().partition(" ")[0] not in names]
    return "\n".join(kept) + "\n"


BAD_PARTS: dict[str, tuple[str, str, int, bool]] = {
    "lone shard": (
        function(without(SHARDS, "%k1:2", "%h", "%j", "%d0", "%d1", "%y", "%s")),
        "stage.prefill_shard is part of a whole, and goes into 0 stage.all_reduce",
        4,
        NO,
    ),
    "shards without a sum": (
        function(without(SHARDS, "%y", "%s")),
        "stage.decode_shard is part of a whole, and goes into 0 stage.all_reduce",
        8,
        NO,
    ),
    "shard summed twice": (
        function(
            SHARDS + '%z = "stage.all_reduce"(%d0, %d1) {degree = 2 : i64, name = "z"} '
            ": (!stage.hidden, !stage.hidden) -> !stage.hidden"
        ),
        "goes into 2 stage.all_reduce",
        8,
        NO,
    ),
    "shard that is sampled": (
        function(
            without(SHARDS, "%y", "%d1").replace('"stage.sample"(%y)', '"stage.sample"(%d0)'),
        ),
        "goes into 0 stage.all_reduce",
        8,
        NO,
    ),
    "lone expert": (
        function(without(EXPERTS, "%y", "%s")),
        "stage.expert_decode is part of a whole, and goes into 0 stage.merge",
        10,
        NO,
    ),
    "lone merge of a shard": (
        function(
            without(EXPERTS, "%gi", "%x0", "%x1", "%y", "%s")
            .replace("expert = 0 : i64,", "degree = 2 : i64, expert = 0 : i64, rank = 0 : i64,")
            .replace("expert = 1 : i64,", "degree = 2 : i64, expert = 1 : i64, rank = 0 : i64,")
            .replace('name = "x"', 'degree = 2 : i64, name = "x", rank = 0 : i64')
        ),
        "stage.merge is part of a whole, and goes into 0 stage.all_reduce",
        7,
        NO,
    ),
    "sum of two degrees": (
        function(
            SHARDS.replace(
                '{degree = 2 : i64, model = "m", name = "b"',
                '{degree = 4 : i64, model = "m", name = "b"',
            )
        ),
        "joins 2 parts, not 2 of degree 2",
        6,
        NO,
    ),
    "sum over two prompts": (
        function(
            _TOKENS.replace("%t =", "%u =")
            + SHARDS.replace(
                '"(%t) {degree = 2 : i64, model = "m", name = "b"',
                '"(%u) {degree = 2 : i64, model = "m", name = "b"',
            )
        ),
        "stage.all_reduce joins parts of different work",
        7,
        NO,
    ),
    "sum over two models": (
        function(
            _TOKENS.replace("%t =", "%u =").replace('"m"', '"n"')
            + SHARDS.replace(
                '"(%t) {degree = 2 : i64, model = "m", name = "b"',
                '"(%u) {degree = 2 : i64, model = "n", name = "b"',
            )
        ),
        "stage.all_reduce joins parts of different work",
        7,
        NO,
    ),
    "decode of more shards than prefilled": (
        function(
            SHARDS.replace(
                '{degree = 2 : i64, model = "m", name = "c"',
                '{degree = 4 : i64, model = "m", name = "c"',
            )
        ),
        "stage.decode_shard goes on from the cache of another part",
        8,
        NO,
    ),
    "decode of another shard's cache": (
        function(SHARDS.replace('"stage.decode_shard"(%j)', '"stage.decode_shard"(%k1#0)', 1)),
        "stage.decode_shard goes on from the cache of another part",
        8,
        NO,
    ),
    "decode of one shard's cache": (
        function(SHARDS + _DECODE.format("%k0#0")),
        "stage.decode takes its kv from a stage.prefill",
        12,
        NO,
    ),
    "draft of one expert's cache": (
        function(
            EXPERTS
            + '%p = "stage.draft"(%e0#0) {model = "m", name = "p", width = 4 : i64} : (!agent.kv) -> !stage.tokens'
        ),
        "stage.draft takes its kv from a stage.prefill",
        14,
        NO,
    ),
    "draft of another prompt": (
        function(
            DRAFT.replace(
                '"small", name = "d", names = ["q"], template = [{role = "user", text = "{q}"',
                '"small", name = "d", names = ["q"], template = [{role = "user", text = "Say {q}"',
            )
        ),
        "stage.verify and its stage.draft answer different prompts",
        7,
        NO,
    ),
    "draft that nothing verifies": (
        function(without(DRAFT, "%v")),
        "stage.draft proposes what no stage.verify reads",
        6,
        NO,
    ),
    "agent of a plan that does more": (
        function(expand(tools=AGENT_ROW.replace('"read"', '"none"'))) + "\n" + HELPER,
        "says that the agent @helper has the effects 'none', and it has 'read'",
        2,
        NO,
    ),
    "agent of a plan that writes": (
        function(expand(tools=AGENT_ROW)) + "\n" + HELPER.replace('"read"', '"write"'),
        "says that the agent @helper has the effects 'read', and it has 'write'",
        2,
        NO,
    ),
    "agent of a plan that writes by a call": (
        function(expand(tools=AGENT_ROW))
        + "\n"
        + HELPER.replace('"agent.tool"(%t)', '"agent.call"(%t)').replace(
            HELPER[HELPER.index("{effects") : HELPER.index("} :") + 1],
            '{callee = @inner, name = "i"}',
        )
        + "\n"
        + HELPER.replace("@helper", "@inner").replace('"read"', '"write"'),
        "says that the agent @helper has the effects 'read', and it has 'write'",
        2,
        NO,
    ),
    "stages of a detokenized prompt": (
        function(
            STAGES.replace('"stage.detokenize"(%o)', '"stage.detokenize"(%t)'), "%r : !agent.text"
        ),
        "stage.detokenize reads what a stage.tokenize made",
        6,
        NO,
    ),
    "prefill of an answer": (
        function(
            STAGES
            + '%k = "stage.prefill"(%o) {model = "m", name = "k"} : (!stage.tokens) -> !agent.kv',
            "%r : !agent.text",
        ),
        "stage.prefill reads what a stage.decode made",
        7,
        NO,
    ),
    "plan in lines of a prompt": (
        function(
            STAGES + expand(op="stage.expand", plan="%t : !stage.tokens", more=', form = "lines"'),
            "%r : !agent.text",
        ),
        "stage.expand reads what a stage.tokenize made",
        7,
        NO,
    ),
}
"""By name, as in `malformed.BAD`."""
