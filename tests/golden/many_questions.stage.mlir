module attributes {agent.version = 2 : i64} {
  func.func @reading(%arg0: !agent.text {agent.name = "text"}) -> !agent.list {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "answer.cache.tokenize", names = ["text"], open = true, prefix_ids = [{chars = 6 : i64, message = 1 : i64, scope = "constant"}, {chars = 24 : i64, message = 1 : i64, scope = "job"}], template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: "}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "answer.cache.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.tool"(%arg0) {effects = "read", idempotent = true, name = "questions", names = ["text"], retries = 0 : i64, signature = "800dd9ec5c573eb5", timeout_s = 3.000000e+01 : f64, tool = "questions"} : (!agent.text) -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %3 = "agent.length"(%2) : (!agent.list) -> i64
    %4 = "agent.empty"() : () -> !agent.list
    %5 = scf.for %arg1 = %c0_i64 to %3 step %c1_i64 iter_args(%arg2 = %4) -> (!agent.list)  : i64 {
      %6 = "agent.element"(%2, %arg1) : (!agent.list, i64) -> !agent.text
      %7 = "stage.tokenize"(%0, %arg0, %6) {model = "smollm2-135m", name = "answer.tokenize", names = ["prefix", "text", "question"], prefix_ids = [{chars = 6 : i64, message = 1 : i64, scope = "constant"}, {chars = 24 : i64, message = 1 : i64, scope = "job"}], template = [{role = "system", text = "You answer in one short sentence."}, {role = "user", text = "Text: {text}\0A\0AQuestion: {question}\0AAnswer:"}]} : (!stage.tokens, !agent.text, !agent.text) -> !stage.tokens
      %8 = "stage.prefill"(%7, %1) {model = "smollm2-135m", name = "answer.prefill"} : (!stage.tokens, !agent.kv) -> !agent.kv
      %9 = "stage.decode"(%8) {max_tokens = 40 : i64, model = "smollm2-135m", name = "answer.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %10 = "stage.detokenize"(%9) {format = "text", model = "smollm2-135m", name = "answer.detokenize"} : (!stage.tokens) -> !agent.text
      %11 = "agent.append"(%arg2, %10) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %11 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %5 : !agent.list
  }
}
