module attributes {agent.version = 2 : i64} {
  func.func @research(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json {
    %0 = "stage.tokenize"(%arg0) {model = "smollm2-135m", name = "plan.tokenize", names = ["topic"], prefix_ids = [{chars = 17 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Plan research on {topic}. Use the tools find(topic) and shorten(text)."}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "smollm2-135m", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {grammar = {kind = "json_schema", text = "{\22$defs\22:{\22Step\22:{\22properties\22:{\22id\22:{\22title\22:\22Id\22,\22type\22:\22string\22},\22tool\22:{\22title\22:\22Tool\22,\22type\22:\22string\22},\22arguments\22:{\22additionalProperties\22:true,\22title\22:\22Arguments\22,\22type\22:\22object\22}},\22required\22:[\22id\22,\22tool\22,\22arguments\22],\22title\22:\22Step\22,\22type\22:\22object\22}},\22items\22:{\22$ref\22:\22#/$defs/Step\22},\22type\22:\22array\22}"}, max_tokens = 200 : i64, model = "smollm2-135m", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "json", model = "smollm2-135m", name = "plan.detokenize"} : (!stage.tokens) -> !agent.list
    %4 = "stage.tool"(%3) {effects = "none", idempotent = true, name = "shown", names = ["steps"], retries = 0 : i64, signature = "abedbc11a2269276", timeout_s = 3.000000e+01 : f64, tool = "shown"} : (!agent.list) -> !agent.text
    %5 = "stage.ask"(%4) {name = "ask", names = ["question"], schema = {type = "boolean"}} : (!agent.text) -> i1
    %6 = scf.if %5 -> (!agent.json) {
      %8 = "stage.expand"(%3) {granted = [], max_steps = 8 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "find", parameters = {topic = {type = "string"}}, required = ["topic"], retries = 0 : i64, signature = "2f223661b7ccc25e", timeout_s = 3.000000e+01 : f64, tool = "find"}, {effects = "none", given = [], idempotent = true, name = "shorten", parameters = {text = {type = "string"}}, required = ["text"], retries = 0 : i64, signature = "fe3aa16e09b6712e", timeout_s = 3.000000e+01 : f64, tool = "shorten"}]} : (!agent.list) -> !agent.json
      scf.yield %8 : !agent.json
    } else {
      %8 = "stage.tool"() {effects = "none", idempotent = true, name = "nothing", names = [], retries = 0 : i64, signature = "accc12055d52999d", timeout_s = 3.000000e+01 : f64, tool = "nothing"} : () -> !agent.json
      scf.yield %8 : !agent.json
    } {agent.name = "branch"}
    %7 = "stage.compute"(%5, %6) {fn = "dict", keys = ["approved", "notes"]} : (i1, !agent.json) -> !agent.json
    return %7 : !agent.json
  }
}
