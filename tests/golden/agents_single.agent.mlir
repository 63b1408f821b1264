module attributes {agent.version = 2 : i64} {
  func.func @clerk(%arg0: !agent.text {agent.name = "question"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "answers questions about the shop"} {
    %0 = "agent.constant"() {value = []} : () -> !agent.list
    %1 = "agent.constant"() {value = ""} : () -> !agent.text
    %2 = "agent.compute"(%arg0, %0, %1) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "agent.compute"(%arg1) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
      %6 = "agent.constant"() {value = ""} : () -> !agent.text
      %7 = "agent.compute"(%5, %6) {fn = "ne"} : (!agent.text, !agent.text) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "agent.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
      %6 = "agent.compute"(%arg1) {fn = "get", key = "notes"} : (!agent.json) -> !agent.list
      %7 = "agent.llm"(%5, %6) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22look_up\22,\22reply\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "choose", names = ["question", "notes"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Question: {question}\0ANotes: {notes}\0AIf the notes hold the answer, say \22reply\22. If not, say \22look_up\22."}]} : (!agent.text, !agent.list) -> !agent.text
      %8 = "agent.constant"() {value = {look_up = "look_up", reply = "reply"}} : () -> !agent.json
      %9 = "agent.compute"(%8, %7) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %10 = "agent.constant"() {value = "look_up"} : () -> !agent.text
      %11 = "agent.compute"(%9, %10) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %12 = scf.if %11 -> (!agent.json) {
        %13 = "agent.compute"(%arg1) {fn = "get", key = "notes"} : (!agent.json) -> !agent.list
        %14 = "agent.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
        %15 = "agent.llm"(%14) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22opening hours\22,\22returns\22,\22delivery\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "pick_topic", names = ["question"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Which chapter of the handbook answers this question? {question}"}]} : (!agent.text) -> !agent.text
        %16 = "agent.tool"(%15) {effects = "read", idempotent = true, name = "look_up", names = ["topic"], retries = 0 : i64, signature = "df681b9e4f46d502", timeout_s = 3.000000e+01 : f64, tool = "look_up"} : (!agent.text) -> !agent.list
        %17 = "agent.compute"(%13, %16) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
        %18 = "agent.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
        %19 = "agent.compute"(%arg1) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
        %20 = "agent.compute"(%18, %17, %19) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
        scf.yield %20 : !agent.json
      } else {
        %13 = "agent.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
        %14 = "agent.compute"(%arg1) {fn = "get", key = "notes"} : (!agent.json) -> !agent.list
        %15 = "agent.llm"(%14, %13) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "reply", names = ["notes", "question"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Notes: {notes}\0AAnswer in one short sentence, from the notes only: {question}"}]} : (!agent.list, !agent.text) -> !agent.text
        %16 = "agent.compute"(%arg1) {fn = "get", key = "question"} : (!agent.json) -> !agent.text
        %17 = "agent.compute"(%arg1) {fn = "get", key = "notes"} : (!agent.json) -> !agent.list
        %18 = "agent.compute"(%16, %17, %15) {fn = "dict", keys = ["question", "notes", "answer"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
        scf.yield %18 : !agent.json
      } {agent.arms = 2 : i64, agent.case = "look_up", agent.name = "switch"}
      scf.yield %12 : !agent.json
    } attributes {agent.max_trips = 4 : i64, agent.name = "loop"}
    %4 = "agent.compute"(%3) {fn = "get", key = "answer"} : (!agent.json) -> !agent.text
    return %4 : !agent.text
  }
}
