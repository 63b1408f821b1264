module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}) -> !agent.text {
    %0 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "check", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "check"} : (!agent.text) -> !agent.json
    %1 = "agent.tool"(%arg0, %0) {effects = "write", idempotent = false, name = "notify", names = ["text"], retries = 0 : i64, signature = "a0", timeout_s = 1.000000e+00 : f64, tool = "notify"} : (!agent.text, !agent.json) -> !agent.json
    return %arg0 : !agent.text
  }
}
