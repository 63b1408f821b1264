// In front: the pure `schema` and then the `rules` it feeds, which reads: the map surely has items
// and writes nothing. Inside: what needs the item.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}) -> !agent.list {
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %0 = "agent.constant"() {value = ["a", "b"]} : () -> !agent.list
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %4 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %5 = "agent.tool"(%arg0) {effects = "none", idempotent = true, name = "schema", names = ["text"], retries = 0 : i64, signature = "c0", timeout_s = 1.000000e+00 : f64, tool = "schema"} : (!agent.text) -> !agent.text
      %6 = "agent.tool"(%5) {effects = "read", idempotent = true, name = "rules", names = ["text"], retries = 0 : i64, signature = "d0", timeout_s = 1.000000e+00 : f64, tool = "rules"} : (!agent.text) -> !agent.text
      %7 = "agent.tool"(%4, %6) {effects = "none", idempotent = true, name = "apply", names = ["text", "rules"], retries = 0 : i64, signature = "e0", timeout_s = 1.000000e+00 : f64, tool = "apply"} : (!agent.text, !agent.text) -> !agent.text
      %8 = "agent.append"(%arg2, %7) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %8 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %3 : !agent.list
  }
}
