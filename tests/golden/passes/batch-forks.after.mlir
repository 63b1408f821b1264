module attributes {agent.version = 2 : i64} {
  func.func @w(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "schema"}) -> !agent.list {
    %0 = "stage.constant"() {value = [0, 1, 2]} : () -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = "stage.tokenize"(%arg1, %arg0) {free = ["schema"], model = "smollm2-135m", name = "draft.tokenize", names = ["schema", "question"], prefix_ids = [{chars = 8 : i64, message = 0 : i64, scope = "constant"}, {chars = 42 : i64, message = 0 : i64, scope = "job"}], template = [{role = "user", text = "Schema: {schema}\0AQuestion: {question}\0ASQL:"}]} : (!agent.text, !agent.text) -> !stage.tokens
    %4 = "stage.prefill"(%3) {model = "smollm2-135m", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %5 = scf.for %arg2 = %c0_i64 to %1 step %c1_i64 iter_args(%arg3 = %2) -> (!agent.list)  : i64 {
      %6 = "agent.element"(%0, %arg2) : (!agent.list, i64) -> i64
      %7 = "stage.decode"(%4, %6) {max_tokens = 9 : i64, model = "smollm2-135m", name = "draft.decode", names = ["seed"], temperature = 0.69999999999999996 : f64} : (!agent.kv, i64) -> !stage.tokens
      %8 = "stage.detokenize"(%7) {format = "text", model = "smollm2-135m", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
      %9 = "agent.append"(%arg3, %8) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %9 : !agent.list
    } {agent.name = "map", agent.parallel}
    return %5 : !agent.list
  }
}
