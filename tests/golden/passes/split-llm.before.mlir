// A model call with an operand that steers decoding, and one that gives JSON, in a map.
module attributes {agent.version = 2 : i64} {
  func.func @drafts(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "seeds"}) -> !agent.list {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 64 : i64, model = "smollm2-135m", name = "outline", names = ["topic"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Outline {topic}."}]} : (!agent.text) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%arg1) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg2 = %c0_i64 to %1 step %c1_i64 iter_args(%arg3 = %2) -> (!agent.list)  : i64 {
      %4 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> i64
      %5 = "agent.llm"(%0, %4) {format = "json", max_tokens = 128 : i64, model = "qwen2.5-coder-1.5b", name = "draft", names = ["outline", "seed"], schema = {type = "object"}, seed = 7 : i64, stop = ["END"], template = [{role = "system", text = "Write JSON."}, {role = "user", text = "Draft {outline}."}]} : (!agent.text, i64) -> !agent.json
      %6 = "agent.append"(%arg3, %5) : (!agent.list, !agent.json) -> !agent.list
      scf.yield %6 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %3 : !agent.list
  }
}
