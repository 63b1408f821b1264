module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "items"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {agent.device = "h100/0", model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {agent.device = "h100/0", model = "m8b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.kv_transfer"(%1) {agent.device = "gaudi/0", model = "m8b", name = "draft.prefill.to.gaudi/0", source = "h100/0", target = "gaudi/0"} : (!agent.kv) -> !agent.kv
    %3 = "stage.decode"(%2) {agent.device = "gaudi/0", max_tokens = 200 : i64, model = "m8b", name = "draft.decode", names = []} : (!agent.kv) -> !stage.tokens
    %4 = "stage.detokenize"(%3) {agent.device = "gaudi/0", format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %5 = "agent.length"(%arg1) : (!agent.list) -> i64
    %6 = "agent.empty"() : () -> !agent.list
    %7 = "stage.transfer"(%4) {agent.device = "node/0", name = "draft.detokenize.to.node/0", source = "gaudi/0", target = "node/0"} : (!agent.text) -> !agent.text
    %8 = scf.for %arg2 = %c0_i64 to %5 step %c1_i64 iter_args(%arg3 = %6) -> (!agent.list)  : i64 {
      %12 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %13 = "stage.tool"(%7, %12) {agent.device = "node/0", effects = "read", idempotent = true, name = "rank", names = ["draft", "item"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "rank"} : (!agent.text, !agent.text) -> !agent.text
      %14 = "agent.append"(%arg3, %13) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %14 : !agent.list
    } {agent.name = "each", agent.parallel}
    %9 = "stage.tool"(%4) {agent.device = "cpu/0", effects = "read", idempotent = true, name = "shorten", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "shorten"} : (!agent.text) -> !agent.text
    %10 = "stage.transfer"(%9) {agent.device = "node/0", name = "shorten.to.node/0", source = "cpu/0", target = "node/0"} : (!agent.text) -> !agent.text
    %11 = "stage.tool"(%10, %8) {agent.device = "node/0", effects = "read", idempotent = true, name = "pick", names = ["a", "b"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "pick"} : (!agent.text, !agent.list) -> !agent.text
    return %11 : !agent.text
  }
}
