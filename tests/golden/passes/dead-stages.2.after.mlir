module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: i1 {agent.name = "loud"}) -> !agent.text {
    %0 = "agent.call"(%arg0) {callee = @used, name = "used"} : (!agent.text) -> !agent.text
    return %0 : !agent.text
  }
  func.func private @used(%arg0: !agent.text {agent.name = "text"}) -> !agent.text {
    return %arg0 : !agent.text
  }
}
