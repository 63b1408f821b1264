module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: i64 {agent.name = "seed"}) -> !agent.json {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 8 : i64, model = "m", name = "first", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Sum up {text}"}]} : (!agent.text) -> !agent.text
    %1 = "agent.llm"(%arg0, %arg1) {format = "text", max_tokens = 8 : i64, model = "m", name = "third", names = ["text", "seed"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Sum up {text}"}]} : (!agent.text, i64) -> !agent.text
    %2 = "agent.llm"(%arg0, %arg1) {format = "text", max_tokens = 8 : i64, model = "m", name = "fourth", names = ["text", "seed"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Sum up {text}"}]} : (!agent.text, i64) -> !agent.text
    %3 = "agent.compute"(%0, %0, %1, %2) {fn = "list"} : (!agent.text, !agent.text, !agent.text, !agent.text) -> !agent.json
    return %3 : !agent.json
  }
}
