module attributes {agent.version = 2 : i64} {
  func.func @clerk(%arg0: !agent.text {agent.name = "question"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "answers questions about the shop"} {
    %0 = "stage.constant"() {value = []} : () -> !agent.list
    %1 = "stage.constant"() {value = ""} : () -> !agent.text
    %2 = "stage.compute"(%arg0, %0, %1) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "stage.compute"(%arg1) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
      %6 = "stage.compute"(%5, %1) {fn = "ne"} : (!agent.text, !agent.text) -> i1
      %7 = "agent.until"(%6) : (i1) -> i1
      scf.condition(%7) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "stage.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
      %6 = "stage.compute"(%arg1) {fn = "get", key = "notes"} : (!agent.json) -> !agent.list
      %7 = "stage.tokenize"(%5, %6) {model = "qwen2.5-coder-1.5b", name = "choose.tokenize", names = ["question", "notes"], prefix_ids = [{chars = 10 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Question: {question}\0ANotes: {notes}\0AIf the notes hold the answer, say \22reply\22. If not, say \22look_up\22."}]} : (!agent.text, !agent.list) -> !stage.tokens
      %8 = "stage.prefill"(%7) {model = "qwen2.5-coder-1.5b", name = "choose.prefill"} : (!stage.tokens) -> !agent.kv
      %9 = "stage.decode"(%8) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22look_up\22,\22reply\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "choose.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %10 = "stage.detokenize"(%9) {format = "json", model = "qwen2.5-coder-1.5b", name = "choose.detokenize"} : (!stage.tokens) -> !agent.text
      %11 = "stage.constant"() {value = {look_up = "look_up", reply = "reply"}} : () -> !agent.json
      %12 = "stage.compute"(%11, %10) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %13 = "stage.constant"() {value = "look_up"} : () -> !agent.text
      %14 = "stage.compute"(%12, %13) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %15 = scf.if %14 -> (!agent.json) {
        %16 = "stage.tokenize"(%5) {model = "qwen2.5-coder-1.5b", name = "pick_topic.tokenize", names = ["question"], prefix_ids = [{chars = 53 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Which chapter of the handbook answers this question? {question}"}]} : (!agent.text) -> !stage.tokens
        %17 = "stage.prefill"(%16) {model = "qwen2.5-coder-1.5b", name = "pick_topic.prefill"} : (!stage.tokens) -> !agent.kv
        %18 = "stage.decode"(%17) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22opening hours\22,\22returns\22,\22delivery\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "pick_topic.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
        %19 = "stage.detokenize"(%18) {format = "json", model = "qwen2.5-coder-1.5b", name = "pick_topic.detokenize"} : (!stage.tokens) -> !agent.text
        %20 = "stage.tool"(%19) {effects = "read", idempotent = true, name = "look_up", names = ["topic"], retries = 0 : i64, signature = "df681b9e4f46d502", timeout_s = 3.000000e+01 : f64, tool = "look_up"} : (!agent.text) -> !agent.list
        %21 = "stage.compute"(%6, %20) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
        %22 = "stage.compute"(%arg1) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
        %23 = "stage.compute"(%5, %21, %22) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
        scf.yield %23 : !agent.json
      } else {
        %16 = "stage.tokenize"(%6, %5) {model = "qwen2.5-coder-1.5b", name = "reply.tokenize", names = ["notes", "question"], prefix_ids = [{chars = 7 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Notes: {notes}\0AAnswer in one short sentence, from the notes only: {question}"}]} : (!agent.list, !agent.text) -> !stage.tokens
        %17 = "stage.prefill"(%16) {model = "qwen2.5-coder-1.5b", name = "reply.prefill"} : (!stage.tokens) -> !agent.kv
        %18 = "stage.decode"(%17) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "reply.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
        %19 = "stage.detokenize"(%18) {format = "text", model = "qwen2.5-coder-1.5b", name = "reply.detokenize"} : (!stage.tokens) -> !agent.text
        %20 = "stage.compute"(%5, %6, %19) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
        scf.yield %20 : !agent.json
      } {agent.arms = 2 : i64, agent.case = "look_up", agent.name = "switch"}
      scf.yield %15 : !agent.json
    } attributes {agent.max_trips = 4 : i64, agent.name = "loop"}
    %4 = "stage.compute"(%3) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
    return %4 : !agent.text
  }
}
