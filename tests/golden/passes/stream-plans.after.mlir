module attributes {agent.version = 2 : i64} {
  func.func @research(%arg0: !agent.text {agent.name = "question"}) -> !agent.list {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "plan.tokenize", names = ["question"], template = [{role = "user", text = "Plan {question}."}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 200 : i64, model = "smollm2-135m", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.expand"(%2) {form = "lines", granted = [], max_steps = 16 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "search", parameters = {words = {type = "string"}}, required = ["words"], retries = 0 : i64, signature = "e5213b91e99317a8", timeout_s = 3.000000e+01 : f64, tool = "search"}]} : (!stage.tokens) -> !agent.json
    %4 = "stage.constant"() {value = " twice"} : () -> !agent.text
    %5 = "stage.compute"(%arg0, %4) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %6 = "stage.tokenize"(%5) {model = "smollm2-135m", name = "plan.tokenize", names = ["question"], template = [{role = "user", text = "Plan {question}."}]} : (!agent.text) -> !stage.tokens
    %7 = "stage.prefill"(%6) {model = "smollm2-135m", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %8 = "stage.decode"(%7) {max_tokens = 200 : i64, model = "smollm2-135m", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %9 = "stage.detokenize"(%8) {format = "text", model = "smollm2-135m", name = "plan.detokenize"} : (!stage.tokens) -> !agent.text
    %10 = "stage.expand"(%8) {form = "lines", granted = [], max_steps = 16 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "search", parameters = {words = {type = "string"}}, required = ["words"], retries = 0 : i64, signature = "e5213b91e99317a8", timeout_s = 3.000000e+01 : f64, tool = "search"}]} : (!stage.tokens) -> !agent.json
    %11 = "stage.compute"(%3, %10, %9) {fn = "list"} : (!agent.json, !agent.json, !agent.text) -> !agent.list
    return %11 : !agent.list
  }
}
