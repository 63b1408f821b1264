module attributes {agent.version = 2 : i64} {
  func.func @brief(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json attributes {agent.budget_usd = 1.000000e-02 : f64, agent.deadline_s = 1.200000e+02 : f64} {
    %0 = "stage.tool"(%arg0) {effects = "read", idempotent = true, name = "find_notes", names = ["topic"], retries = 0 : i64, signature = "36ca997d91ee8048", timeout_s = 2.000000e+00 : f64, tool = "find_notes"} : (!agent.text) -> !agent.list
    %1 = "stage.compute"(%0) {fn = "len"} : (!agent.list) -> i64
    %2 = "stage.constant"() {value = 0 : i64} : () -> i64
    %3 = "stage.compute"(%1, %2) {fn = "gt"} : (i64, i64) -> i1
    %4 = scf.if %3 -> (!agent.json) {
      %c0_i64 = arith.constant 0 : i64
      %c1_i64 = arith.constant 1 : i64
      %5 = "agent.length"(%0) : (!agent.list) -> i64
      %6 = "agent.empty"() : () -> !agent.list
      %7 = scf.for %arg1 = %c0_i64 to %5 step %c1_i64 iter_args(%arg2 = %6) -> (!agent.list)  : i64 {
        %14 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
        %15 = "stage.tool"(%14) {effects = "read", idempotent = true, name = "read_note", names = ["name"], retries = 0 : i64, signature = "0c3c929a8bdba7da", timeout_s = 3.000000e+01 : f64, tool = "read_note"} : (!agent.text) -> !agent.text
        %16 = "stage.tokenize"(%15) {model = "smollm2-135m", name = "summarise.tokenize", names = ["note"], prefix_ids = [{chars = 32 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Say this in one short sentence: {note}"}]} : (!agent.text) -> !stage.tokens
        %17 = "stage.prefill"(%16) {model = "smollm2-135m", name = "summarise.prefill"} : (!stage.tokens) -> !agent.kv
        %18 = "stage.decode"(%17) {max_tokens = 48 : i64, model = "smollm2-135m", name = "summarise.decode", names = [], stop = ["\0A\0A"], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
        %19 = "stage.detokenize"(%18) {format = "text", model = "smollm2-135m", name = "summarise.detokenize"} : (!stage.tokens) -> !agent.text
        %20 = "agent.append"(%arg2, %19) : (!agent.list, !agent.text) -> !agent.list
        scf.yield %20 : !agent.list
      } {agent.name = "from_notes/map", agent.parallel}
      %8 = "stage.tokenize"(%7, %arg0) {model = "smollm2-135m", name = "from_notes/write_brief.tokenize", names = ["facts", "topic"], prefix_ids = [{chars = 7 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Facts: {facts}\0A\0AWrite two sentences about {topic}. Use only the facts."}]} : (!agent.list, !agent.text) -> !stage.tokens
      %9 = "stage.prefill"(%8) {model = "smollm2-135m", name = "from_notes/write_brief.prefill"} : (!stage.tokens) -> !agent.kv
      %10 = "stage.decode"(%9) {max_tokens = 80 : i64, model = "smollm2-135m", name = "from_notes/write_brief.decode", names = [], stop = ["\0A\0A"], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %11 = "stage.detokenize"(%10) {format = "text", model = "smollm2-135m", name = "from_notes/write_brief.detokenize"} : (!stage.tokens) -> !agent.text
      %12 = "stage.tool"(%arg0, %11, %0) {effects = "none", idempotent = true, name = "from_notes/check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
      %13 = scf.while (%arg1 = %12) : (!agent.json) -> !agent.json {
        %14 = "stage.compute"(%arg1) {fn = "get", key = "good"} : (!agent.json) -> i1
        %15 = "agent.until"(%14) : (i1) -> i1
        scf.condition(%15) %arg1 : !agent.json
      } do {
      ^bb0(%arg1: !agent.json):
        %14 = "stage.compute"(%arg1) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
        %15 = "stage.compute"(%arg1) {fn = "get", key = "words"} : (!agent.json) -> i64
        %16 = "stage.tokenize"(%14) {model = "smollm2-135m", name = "rewrite.tokenize", names = ["text"], prefix_ids = [{chars = 60 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Rewrite this text in 10 to 40 words. End with a full stop.\0A\0A{text}"}]} : (!agent.text) -> !stage.tokens
        %17 = "stage.prefill"(%16) {model = "smollm2-135m", name = "rewrite.prefill"} : (!stage.tokens) -> !agent.kv
        %18 = "stage.decode"(%17, %15) {max_tokens = 80 : i64, model = "smollm2-135m", name = "rewrite.decode", names = ["seed"], stop = ["\0A\0A"], temperature = 0.69999999999999996 : f64} : (!agent.kv, i64) -> !stage.tokens
        %19 = "stage.detokenize"(%18) {format = "text", model = "smollm2-135m", name = "rewrite.detokenize"} : (!stage.tokens) -> !agent.text
        %20 = "stage.tool"(%arg0, %19, %0) {effects = "none", idempotent = true, name = "check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
        scf.yield %20 : !agent.json
      } attributes {agent.max_trips = 2 : i64, agent.name = "from_notes/loop"}
      scf.yield %13 : !agent.json
    } else {
      %5 = "stage.constant"() {value = "There are no notes about this topic."} : () -> !agent.text
      %6 = "stage.tool"(%arg0, %5, %0) {effects = "none", idempotent = true, name = "check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
      scf.yield %6 : !agent.json
    } {agent.name = "branch"}
    return %4 : !agent.json
  }
}
