module attributes {agent.version = 2 : i64} {
  func.func @reading(%arg0: !agent.text {agent.name = "text"}) -> !agent.list {
    %0 = "agent.cache"(%arg0) {model = "smollm2-135m", name = "answer.cache", names = ["text"], template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: "}]} : (!agent.text) -> !agent.kv
    %1 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "questions", names = ["text"], retries = 0 : i64, signature = "800dd9ec5c573eb5", timeout_s = 3.000000e+01 : f64, tool = "questions"} : (!agent.text) -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %2 = "agent.length"(%1) : (!agent.list) -> i64
    %3 = "agent.empty"() : () -> !agent.list
    %4 = scf.for %arg1 = %c0_i64 to %2 step %c1_i64 iter_args(%arg2 = %3) -> (!agent.list)  : i64 {
      %5 = "agent.element"(%1, %arg1) : (!agent.list, i64) -> !agent.text
      %6 = "agent.llm"(%5, %0) {format = "text", max_tokens = 40 : i64, model = "smollm2-135m", name = "answer", names = ["question", "cache"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "{question}\0AAnswer:"}]} : (!agent.text, !agent.kv) -> !agent.text
      %7 = "agent.append"(%arg2, %6) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %7 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %4 : !agent.list
  }
}
