// Removed: the pure `format` and what only it needs. Kept: `check`, which may fail the job on
// purpose, and `notify`, which writes, though nobody uses what they give.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}) -> !agent.text {
    %0 = "agent.constant"() {value = 3 : i64} : () -> i64
    %1 = "agent.tool"(%arg0, %0) {effects = "none", idempotent = true, name = "format", names = ["text", "width"], retries = 0 : i64, signature = "f0", timeout_s = 1.000000e+00 : f64, tool = "format"} : (!agent.text, i64) -> !agent.text
    %2 = "agent.cast"(%1) : (!agent.text) -> !agent.json
    %3 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "check", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "check"} : (!agent.text) -> !agent.json
    %4 = "agent.tool"(%arg0, %3) {effects = "write", idempotent = false, name = "notify", names = ["text"], retries = 0 : i64, signature = "a0", timeout_s = 1.000000e+00 : f64, tool = "notify"} : (!agent.text, !agent.json) -> !agent.json
    return %arg0 : !agent.text
  }
}
