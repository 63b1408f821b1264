module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "items"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {agent.device = "h100/0", model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {agent.device = "h100/0", model = "m8b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.kv_transfer"(%1) {agent.device = "gaudi/0", model = "m8b", name = "draft.prefill.to.gaudi/0", source = "h100/0", target = "gaudi/0"} : (!agent.kv) -> !agent.kv
    %3 = "stage.decode"(%2) {agent.device = "gaudi/0", max_tokens = 200 : i64, model = "m8b", name = "draft.decode", names = []} : (!agent.kv) -> !stage.tokens
    %4 = "stage.detokenize"(%3) {agent.device = "gaudi/0", format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %5 = "stage.tool"(%4) {agent.device = "cpu/0", effects = "read", idempotent = true, name = "shorten", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "shorten"} : (!agent.text) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %6 = "agent.length"(%arg1) : (!agent.list) -> i64
    %7 = "agent.empty"() : () -> !agent.list
    %8 = scf.for %arg2 = %c0_i64 to %6 step %c1_i64 iter_args(%arg3 = %7) -> (!agent.list)  : i64 {
      %10 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %11 = "stage.tool"(%4, %10) {agent.device = "cpu/0", effects = "read", idempotent = true, name = "score", names = ["draft", "item"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "score"} : (!agent.text, !agent.text) -> !agent.text
      %12 = "agent.append"(%arg3, %11) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %12 : !agent.list
    } {agent.name = "each", agent.parallel}
    %9 = "stage.tool"(%5, %8) {effects = "read", idempotent = true, name = "show", names = ["a", "b"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "show"} : (!agent.text, !agent.list) -> !agent.text
    return %9 : !agent.text
  }
}
