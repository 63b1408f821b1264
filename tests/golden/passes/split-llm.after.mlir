module attributes {agent.version = 2 : i64} {
  func.func @drafts(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "seeds"}) -> !agent.list {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "outline.tokenize", names = ["topic"], template = [{role = "user", text = "Outline {topic}."}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "outline.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 64 : i64, model = "smollm2-135m", name = "outline.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "smollm2-135m", name = "outline.detokenize"} : (!stage.tokens) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %4 = "agent.length"(%arg1) : (!agent.list) -> i64
    %5 = "agent.empty"() : () -> !agent.list
    %6 = scf.for %arg2 = %c0_i64 to %4 step %c1_i64 iter_args(%arg3 = %5) -> (!agent.list)  : i64 {
      %7 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> i64
      %8 = "stage.tokenize"(%3) {model = "qwen2.5-coder-1.5b", name = "draft.tokenize", names = ["outline"], template = [{role = "system", text = "Write JSON."}, {role = "user", text = "Draft {outline}."}]} : (!agent.text) -> !stage.tokens
      %9 = "stage.prefill"(%8) {model = "qwen2.5-coder-1.5b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
      %10 = "stage.decode"(%9, %7) {max_tokens = 128 : i64, model = "qwen2.5-coder-1.5b", name = "draft.decode", names = ["seed"], stop = ["END"]} : (!agent.kv, i64) -> !stage.tokens
      %11 = "stage.detokenize"(%10) {format = "json", model = "qwen2.5-coder-1.5b", name = "draft.detokenize", schema = {type = "object"}} : (!stage.tokens) -> !agent.json
      %12 = "agent.append"(%arg3, %11) : (!agent.list, !agent.json) -> !agent.list
      scf.yield %12 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %6 : !agent.list
  }
}
