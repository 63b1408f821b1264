// Tools on a node of their own: the draft goes there once, in front of the map, and so does the
// short form; what the map made there is there.
module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "items"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "m8b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 200 : i64, model = "m8b", name = "draft.decode", names = []} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %4 = "agent.length"(%arg1) : (!agent.list) -> i64
    %5 = "agent.empty"() : () -> !agent.list
    %6 = scf.for %arg2 = %c0_i64 to %4 step %c1_i64 iter_args(%arg3 = %5) -> (!agent.list)  : i64 {
      %9 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %10 = "stage.tool"(%3, %9) {effects = "read", idempotent = true, name = "rank", names = ["draft", "item"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "rank"} : (!agent.text, !agent.text) -> !agent.text
      %11 = "agent.append"(%arg3, %10) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %11 : !agent.list
    } {agent.name = "each", agent.parallel}
    %7 = "stage.tool"(%3) {effects = "read", idempotent = true, name = "shorten", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "shorten"} : (!agent.text) -> !agent.text
    %8 = "stage.tool"(%7, %6) {effects = "read", idempotent = true, name = "pick", names = ["a", "b"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "pick"} : (!agent.text, !agent.list) -> !agent.text
    return %8 : !agent.text
  }
}
