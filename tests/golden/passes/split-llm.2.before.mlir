// A prompt in two: the cache of its beginning, and calls in a map that go on from it.
module attributes {agent.version = 2 : i64} {
  func.func @reading(%arg0: !agent.text {agent.name = "text"}, %arg1: !agent.list {agent.name = "questions"}) -> !agent.list {
    %0 = "agent.cache"(%arg0) {model = "smollm2-135m", name = "answer.cache", names = ["text"], template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: "}]} : (!agent.text) -> !agent.kv
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%arg1) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg2 = %c0_i64 to %1 step %c1_i64 iter_args(%arg3 = %2) -> (!agent.list)  : i64 {
      %4 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %5 = "agent.llm"(%4, %0) {format = "text", max_tokens = 40 : i64, model = "smollm2-135m", name = "answer", names = ["question", "cache"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "{question}\0AAnswer:"}]} : (!agent.text, !agent.kv) -> !agent.text
      %6 = "agent.append"(%arg3, %5) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %6 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %3 : !agent.list
  }
}
