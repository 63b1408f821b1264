// A plan that only the expand reads (its text is needed no more), and one that is shown too.
module attributes {agent.version = 2 : i64} {
  func.func @research(%arg0: !agent.text {agent.name = "question"}) -> !agent.list {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "plan.tokenize", names = ["question"], template = [{role = "user", text = "Plan {question}."}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 200 : i64, model = "smollm2-135m", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "smollm2-135m", name = "plan.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.expand"(%3) {form = "lines", granted = [], max_steps = 16 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "search", parameters = {words = {type = "string"}}, required = ["words"], retries = 0 : i64, signature = "e5213b91e99317a8", timeout_s = 3.000000e+01 : f64, tool = "search"}]} : (!agent.text) -> !agent.json
    %5 = "stage.constant"() {value = " twice"} : () -> !agent.text
    %6 = "stage.compute"(%arg0, %5) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %7 = "stage.tokenize"(%6) {model = "smollm2-135m", name = "plan.tokenize", names = ["question"], template = [{role = "user", text = "Plan {question}."}]} : (!agent.text) -> !stage.tokens
    %8 = "stage.prefill"(%7) {model = "smollm2-135m", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %9 = "stage.decode"(%8) {max_tokens = 200 : i64, model = "smollm2-135m", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %10 = "stage.detokenize"(%9) {format = "text", model = "smollm2-135m", name = "plan.detokenize"} : (!stage.tokens) -> !agent.text
    %11 = "stage.expand"(%10) {form = "lines", granted = [], max_steps = 16 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "search", parameters = {words = {type = "string"}}, required = ["words"], retries = 0 : i64, signature = "e5213b91e99317a8", timeout_s = 3.000000e+01 : f64, tool = "search"}]} : (!agent.text) -> !agent.json
    %12 = "stage.compute"(%4, %11, %10) {fn = "list"} : (!agent.json, !agent.json, !agent.text) -> !agent.list
    return %12 : !agent.list
  }
}
