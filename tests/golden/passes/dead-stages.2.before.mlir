// Removed: the model call and the branch whose results nobody uses, and the function nobody calls.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: i1 {agent.name = "loud"}) -> !agent.text {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 8 : i64, model = "m", name = "unused", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Sum up {text}"}]} : (!agent.text) -> !agent.text
    %1 = scf.if %arg1 -> (!agent.text) {
      scf.yield %0 : !agent.text
    } else {
      scf.yield %arg0 : !agent.text
    } {agent.name = "branch"}
    %2 = "agent.call"(%arg0) {callee = @used, name = "used"} : (!agent.text) -> !agent.text
    return %2 : !agent.text
  }
  func.func private @used(%arg0: !agent.text {agent.name = "text"}) -> !agent.text {
    return %arg0 : !agent.text
  }
  func.func private @left_over(%arg0: !agent.text {agent.name = "text"}) -> !agent.text {
    return %arg0 : !agent.text
  }
}
