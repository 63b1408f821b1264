module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}) -> !agent.list {
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %0 = "agent.constant"() {agent.within = ["team"], value = ["a", "b"]} : () -> !agent.list
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %5 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %6 = "agent.tool"(%5) {agent.within = ["team", "reader"], effects = "read", idempotent = true, name = "reader/fetch", names = ["text"], retries = 0 : i64, signature = "fetch", timeout_s = 1.000000e+00 : f64, tool = "fetch"} : (!agent.text) -> !agent.text
      %7 = "agent.llm"(%6) {agent.within = ["team", "reader"], format = "text", max_tokens = 8 : i64, model = "m", name = "reader/sum_up", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "sum_up {text}"}]} : (!agent.text) -> !agent.text
      %8 = "agent.append"(%arg2, %7) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %8 : !agent.list
    } {agent.name = "team/map", agent.parallel, agent.within = ["team"]}
    %4 = "agent.expand"(%arg0) {granted = [], max_steps = 4 : i64, name = "expand", names = ["plan"], tools = [{agent = "reader", effects = "read", given = [], name = "reader", parameters = {text = {type = "string"}}, required = ["text"]}]} : (!agent.text) -> !agent.json
    return %3 : !agent.list
  }
  func.func private @team(%arg0: !agent.text {agent.name = "question"}) -> !agent.list {
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %0 = "agent.constant"() {value = ["a", "b"]} : () -> !agent.list
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %4 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %5 = "agent.call"(%4) {callee = @reader, name = "reader"} : (!agent.text) -> !agent.text
      %6 = "agent.append"(%arg2, %5) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %6 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %3 : !agent.list
  }
  func.func private @reader(%arg0: !agent.text {agent.name = "text"}) -> !agent.text {
    %0 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "fetch", names = ["text"], retries = 0 : i64, signature = "fetch", timeout_s = 1.000000e+00 : f64, tool = "fetch"} : (!agent.text) -> !agent.text
    %1 = "agent.llm"(%0) {format = "text", max_tokens = 8 : i64, model = "m", name = "sum_up", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "sum_up {text}"}]} : (!agent.text) -> !agent.text
    return %1 : !agent.text
  }
}
