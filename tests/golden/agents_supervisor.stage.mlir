module attributes {agent.version = 2 : i64} {
  func.func @report(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json attributes {agent.deadline_s = 1.200000e+02 : f64, agent.pattern = "supervisor"} {
    %0 = "stage.constant"() {value = []} : () -> !agent.list
    %1 = "stage.constant"() {value = ""} : () -> !agent.text
    %2 = "stage.compute"(%arg0, %0, %1, %1) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
    %3 = "stage.compute"(%2, %1, %0) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %4 = scf.while (%arg1 = %3) : (!agent.json) -> !agent.json {
      %6 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %7 = "stage.constant"() {value = "finish"} : () -> !agent.text
      %8 = "stage.compute"(%6, %7) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %9 = "agent.until"(%8) : (i1) -> i1
      scf.condition(%9) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %6 = "stage.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %7 = "stage.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %8 = "stage.compute"(%6) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
      %9 = "stage.compute"(%6) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
      %10 = "stage.compute"(%6) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
      %11 = "stage.compute"(%6) {fn = "get", key = "remarks"} : (!agent.json) -> !agent.text
      %12 = "stage.constant"() {value = "research: finds facts\0Awrite: writes the text from the facts\0Areview: criticises the text\0Afinish: the work is done"} : () -> !agent.text
      %13 = "stage.tokenize"(%8, %12, %9, %10, %11, %7) {model = "qwen2.5-coder-1.5b", name = "lead.tokenize", names = ["topic", "agents", "facts", "text", "remarks", "done"], prefix_ids = [{chars = 40 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You lead a team that writes a report on {topic}:\0A{agents}\0A\0AFacts: {facts}\0AText: {text}\0ARemarks: {remarks}\0AHave worked so far: {done}\0A\0AFacts come first, then a text, then remarks, then finish. Who is next?"}]} : (!agent.text, !agent.text, !agent.list, !agent.text, !agent.text, !agent.list) -> !stage.tokens
      %14 = "stage.prefill"(%13) {model = "qwen2.5-coder-1.5b", name = "lead.prefill"} : (!stage.tokens) -> !agent.kv
      %15 = "stage.decode"(%14) {grammar = {kind = "regex", text = "research|write|review|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %16 = "stage.detokenize"(%15) {format = "text", model = "qwen2.5-coder-1.5b", name = "lead.detokenize"} : (!stage.tokens) -> !agent.text
      %17 = "stage.constant"() {value = {finish = "finish", research = "research", review = "review", write = "write"}} : () -> !agent.json
      %18 = "stage.compute"(%17, %16) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %19 = "stage.constant"() {value = "research"} : () -> !agent.text
      %20 = "stage.compute"(%18, %19) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %21 = scf.if %20 -> (!agent.json) {
        %25 = "stage.tool"(%8) {effects = "read", idempotent = true, name = "research/find_facts", names = ["topic"], retries = 0 : i64, signature = "7d448baf9836628c", timeout_s = 3.000000e+01 : f64, tool = "find_facts"} : (!agent.text) -> !agent.list
        %26 = "stage.compute"(%8, %25, %10, %11) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
        scf.yield %26 : !agent.json
      } else {
        %25 = "stage.constant"() {value = "write"} : () -> !agent.text
        %26 = "stage.compute"(%18, %25) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %27 = scf.if %26 -> (!agent.json) {
          %28 = "stage.tokenize"(%9, %11, %8) {model = "qwen2.5-coder-1.5b", name = "write/compose.tokenize", names = ["facts", "remarks", "topic"], prefix_ids = [{chars = 7 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Facts: {facts}\0ARemarks on the last version: {remarks}\0AWrite two sentences about {topic}. Use the facts."}]} : (!agent.list, !agent.text, !agent.text) -> !stage.tokens
          %29 = "stage.prefill"(%28) {model = "qwen2.5-coder-1.5b", name = "write/compose.prefill"} : (!stage.tokens) -> !agent.kv
          %30 = "stage.decode"(%29) {max_tokens = 64 : i64, model = "qwen2.5-coder-1.5b", name = "write/compose.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %31 = "stage.detokenize"(%30) {format = "text", model = "qwen2.5-coder-1.5b", name = "write/compose.detokenize"} : (!stage.tokens) -> !agent.text
          %32 = "stage.compute"(%8, %9, %31, %11) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
          scf.yield %32 : !agent.json
        } else {
          %28 = "stage.constant"() {value = "review"} : () -> !agent.text
          %29 = "stage.compute"(%18, %28) {fn = "eq"} : (!agent.text, !agent.text) -> i1
          %30 = scf.if %29 -> (!agent.json) {
            %31 = "stage.tokenize"(%10) {model = "qwen2.5-coder-1.5b", name = "review/criticise.tokenize", names = ["text"], prefix_ids = [{chars = 59 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Say in one short sentence what this text lacks, or \22good\22: {text}"}]} : (!agent.text) -> !stage.tokens
            %32 = "stage.prefill"(%31) {model = "qwen2.5-coder-1.5b", name = "review/criticise.prefill"} : (!stage.tokens) -> !agent.kv
            %33 = "stage.decode"(%32) {max_tokens = 32 : i64, model = "qwen2.5-coder-1.5b", name = "review/criticise.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
            %34 = "stage.detokenize"(%33) {format = "text", model = "qwen2.5-coder-1.5b", name = "review/criticise.detokenize"} : (!stage.tokens) -> !agent.text
            %35 = "stage.compute"(%8, %9, %10, %34) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
            scf.yield %35 : !agent.json
          } else {
            scf.yield %6 : !agent.json
          } {agent.arms = 2 : i64, agent.case = "review", agent.name = "next"}
          scf.yield %30 : !agent.json
        } {agent.arms = 3 : i64, agent.case = "write", agent.name = "next"}
        scf.yield %27 : !agent.json
      } {agent.arms = 4 : i64, agent.case = "research", agent.name = "next"}
      %22 = "stage.compute"(%16) {fn = "list"} : (!agent.text) -> !agent.list
      %23 = "stage.compute"(%7, %22) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %24 = "stage.compute"(%21, %16, %23) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %24 : !agent.json
    } attributes {agent.max_trips = 6 : i64, agent.name = "supervise"}
    %5 = "stage.compute"(%4) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %5 : !agent.json
  }
}
