module attributes {agent.version = 2 : i64} {
  func.func @reading(%arg0: !agent.text {agent.name = "text"}, %arg1: !agent.list {agent.name = "questions"}) -> !agent.list {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "answer.cache.tokenize", names = ["text"], open = true, template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: "}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "answer.cache.prefill"} : (!stage.tokens) -> !agent.kv
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %2 = "agent.length"(%arg1) : (!agent.list) -> i64
    %3 = "agent.empty"() : () -> !agent.list
    %4 = scf.for %arg2 = %c0_i64 to %2 step %c1_i64 iter_args(%arg3 = %3) -> (!agent.list)  : i64 {
      %5 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %6 = "stage.tokenize"(%0, %arg0, %5) {model = "smollm2-135m", name = "answer.tokenize", names = ["prefix", "text", "question"], template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: {question}\0AAnswer:"}]} : (!stage.tokens, !agent.text, !agent.text) -> !stage.tokens
      %7 = "stage.prefill"(%6, %1) {model = "smollm2-135m", name = "answer.prefill"} : (!stage.tokens, !agent.kv) -> !agent.kv
      %8 = "stage.decode"(%7) {max_tokens = 40 : i64, model = "smollm2-135m", name = "answer.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %9 = "stage.detokenize"(%8) {format = "text", model = "smollm2-135m", name = "answer.detokenize"} : (!stage.tokens) -> !agent.text
      %10 = "agent.append"(%arg3, %9) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %10 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %4 : !agent.list
  }
}
