module attributes {agent.version = 2 : i64} {
  func.func @trip(%arg0: !agent.text {agent.name = "wish"}) -> !agent.text attributes {agent.pattern = "supervisor_as_tool"} {
    %0 = "stage.tokenize"(%arg0) {model = "qwen2.5-coder-1.5b", name = "plan.tokenize", names = ["wish"], template = [{role = "user", text = "A traveller wants: {wish}\0APlan which questions to ask, one step each, with the ids a, b, c, d:\0Aweather(city) gives the weather; guide(city) says what to see."}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "plan.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {grammar = {kind = "json_schema", text = "{\22$defs\22:{\22City\22:{\22properties\22:{\22city\22:{\22enum\22:[\22Oslo\22,\22Bergen\22,\22Trondheim\22],\22title\22:\22City\22,\22type\22:\22string\22}},\22required\22:[\22city\22],\22title\22:\22City\22,\22type\22:\22object\22},\22Step\22:{\22properties\22:{\22id\22:{\22enum\22:[\22a\22,\22b\22,\22c\22,\22d\22],\22title\22:\22Id\22,\22type\22:\22string\22},\22tool\22:{\22enum\22:[\22weather\22,\22guide\22],\22title\22:\22Tool\22,\22type\22:\22string\22},\22arguments\22:{\22$ref\22:\22#/$defs/City\22}},\22required\22:[\22id\22,\22tool\22,\22arguments\22],\22title\22:\22Step\22,\22type\22:\22object\22}},\22items\22:{\22$ref\22:\22#/$defs/Step\22},\22type\22:\22array\22}"}, max_tokens = 160 : i64, model = "qwen2.5-coder-1.5b", name = "plan.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "json", model = "qwen2.5-coder-1.5b", name = "plan.detokenize"} : (!stage.tokens) -> !agent.list
    %4 = "stage.expand"(%3) {granted = [], max_steps = 4 : i64, name = "expand", names = ["plan"], tools = [{effects = "read", given = [], idempotent = true, name = "weather", parameters = {city = {type = "string"}}, required = ["city"], retries = 0 : i64, signature = "b73efc37a396c071", timeout_s = 3.000000e+01 : f64, tool = "weather"}, {agent = "guide", effects = "read", given = [], name = "guide", parameters = {city = {type = "string"}}, required = ["city"]}]} : (!agent.list) -> !agent.json
    %5 = "stage.tokenize"(%arg0, %4) {model = "qwen2.5-coder-1.5b", name = "advise.tokenize", names = ["wish", "answers"], template = [{role = "user", text = "A traveller wants: {wish}\0AWhat we found out: {answers}\0AAdvise the traveller in two sentences."}]} : (!agent.text, !agent.json) -> !stage.tokens
    %6 = "stage.prefill"(%5) {model = "qwen2.5-coder-1.5b", name = "advise.prefill"} : (!stage.tokens) -> !agent.kv
    %7 = "stage.decode"(%6) {max_tokens = 80 : i64, model = "qwen2.5-coder-1.5b", name = "advise.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %8 = "stage.detokenize"(%7) {format = "text", model = "qwen2.5-coder-1.5b", name = "advise.detokenize"} : (!stage.tokens) -> !agent.text
    return %8 : !agent.text
  }
  func.func private @guide(%arg0: !agent.text {agent.name = "city"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "knows what to see in a city"} {
    %0 = "stage.tool"(%arg0) {effects = "read", idempotent = true, name = "weather", names = ["city"], retries = 0 : i64, signature = "b73efc37a396c071", timeout_s = 3.000000e+01 : f64, tool = "weather"} : (!agent.text) -> !agent.text
    %1 = "stage.tokenize"(%arg0, %0) {model = "qwen2.5-coder-1.5b", name = "name_sights.tokenize", names = ["city", "sky"], template = [{role = "user", text = "Name two sights of {city} for this weather: {sky}. One short sentence."}]} : (!agent.text, !agent.text) -> !stage.tokens
    %2 = "stage.prefill"(%1) {model = "qwen2.5-coder-1.5b", name = "name_sights.prefill"} : (!stage.tokens) -> !agent.kv
    %3 = "stage.decode"(%2) {max_tokens = 32 : i64, model = "qwen2.5-coder-1.5b", name = "name_sights.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %4 = "stage.detokenize"(%3) {format = "text", model = "qwen2.5-coder-1.5b", name = "name_sights.detokenize"} : (!stage.tokens) -> !agent.text
    return %4 : !agent.text
  }
}
