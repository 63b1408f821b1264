module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {agent.cpu_seconds = 1.000000e-03 : f64, agent.visits = 1.000000e+00 : f64, model = "m8b", name = "write.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {agent.bytes = 2.000000e+09 : f64, agent.flops = 4.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 4.000000e+05 : f64, agent.visits = 1.000000e+00 : f64, model = "m8b", name = "write.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {agent.bytes = 6.000000e+11 : f64, agent.flops = 3.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 5.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, agent.visits = 1.000000e+00 : f64, max_tokens = 200 : i64, model = "m8b", name = "write.decode", names = []} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {agent.visits = 1.000000e+00 : f64, format = "text", model = "m8b", name = "write.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = scf.while (%arg1 = %3) : (!agent.text) -> !agent.text {
      %5 = "stage.compute"(%arg1) {agent.visits = 3.000000e+00 : f64, fn = "len"} : (!agent.text) -> i64
      %6 = "stage.constant"() {agent.visits = 3.000000e+00 : f64, value = 0 : i64} : () -> i64
      %7 = "stage.compute"(%5, %6) {agent.visits = 3.000000e+00 : f64, fn = "gt"} : (i64, i64) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.text
    } do {
    ^bb0(%arg1: !agent.text):
      %5 = "stage.tool"(%arg1) {agent.cpu_seconds = 2.500000e-01 : f64, agent.visits = 2.000000e+00 : f64, effects = "read", idempotent = true, name = "check", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "check"} : (!agent.text) -> !agent.text
      scf.yield %5 : !agent.text
    } attributes {agent.max_trips = 4 : i64, agent.name = "loop", agent.trips = 2.000000e+00 : f64, agent.visits = 1.000000e+00 : f64}
    return %4 : !agent.text
  }
}
