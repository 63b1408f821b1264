module attributes {agent.version = 2 : i64} {
  func.func @brief(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json attributes {agent.budget_usd = 1.000000e-02 : f64, agent.deadline_s = 1.200000e+02 : f64} {
    %0 = "stage.tool"(%arg0) {effects = "read", idempotent = true, name = "find_notes", names = ["topic"], retries = 0 : i64, signature = "36ca997d91ee8048", timeout_s = 2.000000e+00 : f64, tool = "find_notes"} : (!agent.text) -> !agent.list
    %1 = "stage.compute"(%0) {fn = "len"} : (!agent.list) -> i64
    %2 = "stage.constant"() {value = 0 : i64} : () -> i64
    %3 = "stage.compute"(%1, %2) {fn = "gt"} : (i64, i64) -> i1
    %4 = scf.if %3 -> (!agent.json) {
      %5 = "agent.call"(%arg0, %0) {callee = @from_notes, name = "from_notes"} : (!agent.text, !agent.list) -> !agent.json
      scf.yield %5 : !agent.json
    } else {
      %5 = "stage.constant"() {value = "There are no notes about this topic."} : () -> !agent.text
      %6 = "stage.tool"(%arg0, %5, %0) {effects = "none", idempotent = true, name = "check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
      scf.yield %6 : !agent.json
    } {agent.name = "branch"}
    return %4 : !agent.json
  }
  func.func private @from_notes(%arg0: !agent.text {agent.name = "topic"}, %arg1: !agent.list {agent.name = "sources", agent.schema = {items = {type = "string"}, type = "array"}}) -> !agent.json {
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %0 = "agent.length"(%arg1) : (!agent.list) -> i64
    %1 = "agent.empty"() : () -> !agent.list
    %2 = scf.for %arg2 = %c0_i64 to %0 step %c1_i64 iter_args(%arg3 = %1) -> (!agent.list)  : i64 {
      %9 = "agent.element"(%arg1, %arg2) : (!agent.list, i64) -> !agent.text
      %10 = "stage.tool"(%9) {effects = "read", idempotent = true, name = "read_note", names = ["name"], retries = 0 : i64, signature = "0c3c929a8bdba7da", timeout_s = 3.000000e+01 : f64, tool = "read_note"} : (!agent.text) -> !agent.text
      %11 = "stage.tokenize"(%10) {model = "smollm2-135m", name = "summarise.tokenize", names = ["note"], prefix_ids = [{chars = 32 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Say this in one short sentence: {note}"}]} : (!agent.text) -> !stage.tokens
      %12 = "stage.prefill"(%11) {model = "smollm2-135m", name = "summarise.prefill"} : (!stage.tokens) -> !agent.kv
      %13 = "stage.decode"(%12) {max_tokens = 48 : i64, model = "smollm2-135m", name = "summarise.decode", names = [], stop = ["\0A\0A"], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %14 = "stage.detokenize"(%13) {format = "text", model = "smollm2-135m", name = "summarise.detokenize"} : (!stage.tokens) -> !agent.text
      %15 = "agent.append"(%arg3, %14) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %15 : !agent.list
    } {agent.name = "map", agent.parallel}
    %3 = "stage.tokenize"(%2, %arg0) {model = "smollm2-135m", name = "write_brief.tokenize", names = ["facts", "topic"], prefix_ids = [{chars = 7 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Facts: {facts}\0A\0AWrite two sentences about {topic}. Use only the facts."}]} : (!agent.list, !agent.text) -> !stage.tokens
    %4 = "stage.prefill"(%3) {model = "smollm2-135m", name = "write_brief.prefill"} : (!stage.tokens) -> !agent.kv
    %5 = "stage.decode"(%4) {max_tokens = 80 : i64, model = "smollm2-135m", name = "write_brief.decode", names = [], stop = ["\0A\0A"], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %6 = "stage.detokenize"(%5) {format = "text", model = "smollm2-135m", name = "write_brief.detokenize"} : (!stage.tokens) -> !agent.text
    %7 = "stage.tool"(%arg0, %6, %arg1) {effects = "none", idempotent = true, name = "check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
    %8 = scf.while (%arg2 = %7) : (!agent.json) -> !agent.json {
      %9 = "stage.compute"(%arg2) {fn = "get", key = "good"} : (!agent.json) -> i1
      %10 = "agent.until"(%9) : (i1) -> i1
      scf.condition(%10) %arg2 : !agent.json
    } do {
    ^bb0(%arg2: !agent.json):
      %9 = "stage.compute"(%arg2) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
      %10 = "stage.compute"(%arg2) {fn = "get", key = "words"} : (!agent.json) -> i64
      %11 = "stage.tokenize"(%9) {model = "smollm2-135m", name = "rewrite.tokenize", names = ["text"], prefix_ids = [{chars = 60 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Rewrite this text in 10 to 40 words. End with a full stop.\0A\0A{text}"}]} : (!agent.text) -> !stage.tokens
      %12 = "stage.prefill"(%11) {model = "smollm2-135m", name = "rewrite.prefill"} : (!stage.tokens) -> !agent.kv
      %13 = "stage.decode"(%12, %10) {max_tokens = 80 : i64, model = "smollm2-135m", name = "rewrite.decode", names = ["seed"], stop = ["\0A\0A"], temperature = 0.69999999999999996 : f64} : (!agent.kv, i64) -> !stage.tokens
      %14 = "stage.detokenize"(%13) {format = "text", model = "smollm2-135m", name = "rewrite.detokenize"} : (!stage.tokens) -> !agent.text
      %15 = "stage.tool"(%arg0, %14, %arg1) {effects = "none", idempotent = true, name = "check", names = ["topic", "text", "sources"], retries = 0 : i64, signature = "344869982f46de55", timeout_s = 3.000000e+01 : f64, tool = "check"} : (!agent.text, !agent.text, !agent.list) -> !agent.json
      scf.yield %15 : !agent.json
    } attributes {agent.max_trips = 2 : i64, agent.name = "loop"}
    return %8 : !agent.json
  }
}
