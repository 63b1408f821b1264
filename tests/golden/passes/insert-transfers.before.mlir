// The prompt's cache goes from the card that computed it to the one that decodes. The tools run
// on the host of the second card, so the draft needs no transfer.
module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "items"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "m8b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 200 : i64, model = "m8b", name = "draft.decode", names = []} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.tool"(%3) {effects = "read", idempotent = true, name = "shorten", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "shorten"} : (!agent.text) -> !agent.text
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %5 = "agent.length"(%arg1) : (!agent.list) -> i64
    %6 = "agent.empty"() : () -> !agent.list
    %7 = scf.for %arg2 = %c0_i64 to %5 step %c1_i64 iter_args(%arg3 = %6) -> (!agent.list)  : i64 {
      %9 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %10 = "stage.tool"(%3, %9) {effects = "read", idempotent = true, name = "score", names = ["draft", "item"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "score"} : (!agent.text, !agent.text) -> !agent.text
      %11 = "agent.append"(%arg3, %10) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %11 : !agent.list
    } {agent.name = "each", agent.parallel}
    %8 = "stage.tool"(%4, %7) {effects = "read", idempotent = true, name = "show", names = ["a", "b"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "show"} : (!agent.text, !agent.list) -> !agent.text
    return %8 : !agent.text
  }
}
