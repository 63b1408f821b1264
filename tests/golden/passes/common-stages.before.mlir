// One: the pure `clean` of one text, also inside the branch. Two as before: `look`, which reads,
// and the `shout` of the two sides, neither of which dominates the other.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: i1 {agent.name = "loud"}) -> !agent.json {
    %0 = "agent.tool"(%arg0) {effects = "none", idempotent = true, name = "clean", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "clean"} : (!agent.text) -> !agent.text
    %1 = "agent.tool"(%arg0) {effects = "none", idempotent = true, name = "clean", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "clean"} : (!agent.text) -> !agent.text
    %2 = "agent.tool"(%0) {effects = "read", idempotent = true, name = "look", names = ["text"], retries = 0 : i64, signature = "d0", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text) -> !agent.text
    %3 = "agent.tool"(%1) {effects = "read", idempotent = true, name = "look", names = ["text"], retries = 0 : i64, signature = "d0", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text) -> !agent.text
    %4 = scf.if %arg1 -> (!agent.text) {
      %6 = "agent.tool"(%arg0) {effects = "none", idempotent = true, name = "clean", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "clean"} : (!agent.text) -> !agent.text
      %7 = "agent.tool"(%6) {effects = "none", idempotent = true, name = "shout", names = ["text"], retries = 0 : i64, signature = "e0", timeout_s = 1.000000e+00 : f64, tool = "shout"} : (!agent.text) -> !agent.text
      scf.yield %7 : !agent.text
    } else {
      %6 = "agent.tool"(%0) {effects = "none", idempotent = true, name = "shout", names = ["text"], retries = 0 : i64, signature = "e0", timeout_s = 1.000000e+00 : f64, tool = "shout"} : (!agent.text) -> !agent.text
      scf.yield %6 : !agent.text
    } {agent.name = "branch"}
    %5 = "agent.compute"(%2, %3, %4) {fn = "list"} : (!agent.text, !agent.text, !agent.text) -> !agent.json
    return %5 : !agent.json
  }
}
