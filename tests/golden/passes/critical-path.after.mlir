module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text attributes {agent.deadline_s = 1.200000e+01 : f64} {
    %0 = "stage.tool"(%arg0) {agent.critical = false, agent.deadline_share = 1.666660e-01 : f64, agent.seconds = 1.000000e+00 : f64, agent.slack_s = 6.000000e+00 : f64, effects = "read", idempotent = true, name = "short", names = ["t"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "short"} : (!agent.text) -> !agent.text
    %1 = "stage.tool"(%arg0) {agent.critical = true, agent.deadline_share = 4.444440e-01 : f64, agent.seconds = 4.000000e+00 : f64, agent.slack_s = 3.000000e+00 : f64, effects = "read", idempotent = true, name = "long", names = ["t"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "long"} : (!agent.text) -> !agent.text
    %2 = "stage.tool"(%0, %1) {agent.critical = true, agent.deadline_share = 1.111110e-01 : f64, agent.seconds = 1.000000e+00 : f64, agent.slack_s = 3.000000e+00 : f64, effects = "read", idempotent = true, name = "join", names = ["a", "b"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "join"} : (!agent.text, !agent.text) -> !agent.text
    %3 = scf.while (%arg1 = %2) : (!agent.text) -> !agent.text {
      %4 = "stage.compute"(%arg1) {fn = "len"} : (!agent.text) -> i64
      %5 = "stage.constant"() {value = 0 : i64} : () -> i64
      %6 = "stage.compute"(%4, %5) {fn = "gt"} : (i64, i64) -> i1
      %7 = "agent.until"(%6) : (i1) -> i1
      scf.condition(%7) %arg1 : !agent.text
    } do {
    ^bb0(%arg1: !agent.text):
      %4 = "stage.tool"(%arg1) {agent.critical = true, agent.deadline_share = 4.444440e-01 : f64, agent.seconds = 2.000000e+00 : f64, agent.slack_s = 3.000000e+00 : f64, effects = "read", idempotent = true, name = "fix", names = ["text"], retries = 0 : i64, signature = "s", timeout_s = 5.000000e+00 : f64, tool = "fix"} : (!agent.text) -> !agent.text
      scf.yield %4 : !agent.text
    } attributes {agent.max_trips = 4 : i64, agent.name = "loop"}
    return %3 : !agent.text
  }
}
