module attributes {agent.version = 2 : i64} {
  func.func @research(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json {
    %0 = "agent.llm"(%arg0) {format = "json", grammar = {kind = "json_schema", text = "{\22$defs\22:{\22Step\22:{\22properties\22:{\22id\22:{\22title\22:\22Id\22,\22type\22:\22string\22},\22tool\22:{\22title\22:\22Tool\22,\22type\22:\22string\22},\22arguments\22:{\22additionalProperties\22:true,\22title\22:\22Arguments\22,\22type\22:\22object\22}},\22required\22:[\22id\22,\22tool\22,\22arguments\22],\22title\22:\22Step\22,\22type\22:\22object\22}},\22items\22:{\22$ref\22:\22#/$defs/Step\22},\22type\22:\22array\22}"}, max_tokens = 200 : i64, model = "smollm2-135m", name = "plan", names = ["topic"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Plan research on {topic}. Use the tools find(topic) and shorten(text)."}]} : (!agent.text) -> !agent.list
    %1 = "agent.tool"(%0) {effects = "none", idempotent = true, name = "shown", names = ["steps"], retries = 0 : i64, signature = "abedbc11a2269276", timeout_s = 3.000000e+01 : f64, tool = "shown"} : (!agent.list) -> !agent.text
    %2 = "agent.ask"(%1) {name = "ask", names = ["question"], schema = {type = "boolean"}} : (!agent.text) -> i1
    %3 = scf.if %2 -> (!agent.json) {
      %5 = "agent.expand"(%0) {granted = [], max_steps = 8 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "find", parameters = {topic = {type = "string"}}, required = ["topic"], retries = 0 : i64, signature = "2f223661b7ccc25e", timeout_s = 3.000000e+01 : f64, tool = "find"}, {effects = "none", given = [], idempotent = true, name = "shorten", parameters = {text = {type = "string"}}, required = ["text"], retries = 0 : i64, signature = "fe3aa16e09b6712e", timeout_s = 3.000000e+01 : f64, tool = "shorten"}]} : (!agent.list) -> !agent.json
      scf.yield %5 : !agent.json
    } else {
      %5 = "agent.tool"() {effects = "none", idempotent = true, name = "nothing", names = [], retries = 0 : i64, signature = "accc12055d52999d", timeout_s = 3.000000e+01 : f64, tool = "nothing"} : () -> !agent.json
      scf.yield %5 : !agent.json
    } {agent.name = "branch"}
    %4 = "agent.compute"(%2, %3) {fn = "dict", keys = ["approved", "notes"]} : (i1, !agent.json) -> !agent.json
    return %4 : !agent.json
  }
}
