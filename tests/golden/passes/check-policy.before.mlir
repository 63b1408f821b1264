// Allowed: the policy grants `mail` twice and lets the secret `name` go there, so nothing changes.
// With `grants = ["mail"]` alone the pass raises PolicyError and names the path
// input:name -> greet -> loop -> mail.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "name", agent.secret = true}) -> !agent.text {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 8 : i64, model = "m", name = "greet", names = ["name"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Greet {name}"}]} : (!agent.text) -> !agent.text
    %1 = scf.while (%arg1 = %0) : (!agent.text) -> !agent.text {
      %2 = "agent.compute"(%arg1, %arg0) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %3 = "agent.until"(%2) : (i1) -> i1
      scf.condition(%3) %arg1 : !agent.text
    } do {
    ^bb0(%arg1: !agent.text):
      %2 = "agent.tool"(%arg1) {effects = "write", idempotent = false, labels = ["external"], name = "mail", names = ["text"], retries = 0 : i64, signature = "mail", timeout_s = 1.000000e+00 : f64, tool = "mail"} : (!agent.text) -> !agent.text
      scf.yield %2 : !agent.text
    } attributes {agent.max_trips = 2 : i64, agent.name = "loop"}
    return %1 : !agent.text
  }
}
