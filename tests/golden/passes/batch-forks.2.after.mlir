module attributes {agent.version = 2 : i64} {
  func.func @w2(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "schema"}) -> !agent.list {
    %0 = "stage.constant"() {value = 1 : i64} : () -> i64
    %1 = "stage.tokenize"(%arg1, %arg0) {free = ["schema"], model = "smollm2-135m", name = "draft.tokenize", names = ["schema", "question"], prefix_ids = [{chars = 8 : i64, message = 0 : i64, scope = "constant"}, {chars = 42 : i64, message = 0 : i64, scope = "job"}], template = [{role = "user", text = "Schema: {schema}\0AQuestion: {question}\0ASQL:"}]} : (!agent.text, !agent.text) -> !stage.tokens
    %2 = "stage.prefill"(%1) {model = "smollm2-135m", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %3 = "stage.decode"(%2, %0) {max_tokens = 9 : i64, model = "smollm2-135m", name = "draft.decode", names = ["seed"], temperature = 0.69999999999999996 : f64} : (!agent.kv, i64) -> !stage.tokens
    %4 = "stage.detokenize"(%3) {format = "text", model = "smollm2-135m", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %5 = "stage.constant"() {value = 2 : i64} : () -> i64
    %6 = "stage.decode"(%2, %5) {max_tokens = 9 : i64, model = "smollm2-135m", name = "draft.decode", names = ["seed"], temperature = 0.69999999999999996 : f64} : (!agent.kv, i64) -> !stage.tokens
    %7 = "stage.detokenize"(%6) {format = "text", model = "smollm2-135m", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    %8 = "stage.compute"(%4, %7) {fn = "list"} : (!agent.text, !agent.text) -> !agent.list
    return %8 : !agent.list
  }
}
