// A prompt, its answer, and a tool in a loop of two expected trips.
module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "m8b", name = "write.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "m8b", name = "write.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 200 : i64, model = "m8b", name = "write.decode", names = []} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "m8b", name = "write.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = scf.while (%arg1 = %3) : (!agent.text) -> !agent.text {
      %5 = "stage.compute"(%arg1) {fn = "len"} : (!agent.text) -> i64
      %6 = "stage.constant"() {value = 0 : i64} : () -> i64
      %7 = "stage.compute"(%5, %6) {fn = "gt"} : (i64, i64) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.text
    } do {
    ^bb0(%arg1: !agent.text):
      %5 = "stage.tool"(%arg1) {effects = "read", idempotent = true, name = "check", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "check"} : (!agent.text) -> !agent.text
      scf.yield %5 : !agent.text
    } attributes {agent.max_trips = 4 : i64, agent.name = "loop"}
    return %4 : !agent.text
  }
}
