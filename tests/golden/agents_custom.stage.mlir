module attributes {agent.version = 2 : i64} {
  func.func @announce(%arg0: !agent.text {agent.name = "news"}) -> !agent.text attributes {agent.pattern = "custom", agent.role = "announces news"} {
    %0 = "stage.constant"() {value = ["friendly", "short", "formal"]} : () -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %15 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %16 = "agent.call"(%15, %arg0) {callee = @author, name = "author", pattern = "single"} : (!agent.text, !agent.text) -> !agent.text
      %17 = "agent.append"(%arg2, %16) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %17 : !agent.list
    } {agent.name = "map", agent.parallel}
    %4 = "stage.tokenize"(%3) {model = "qwen2.5-coder-1.5b", name = "choose.tokenize", names = ["texts"], prefix_ids = [{chars = 54 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Which of these three texts would customers like best?\0A{texts}"}]} : (!agent.list) -> !stage.tokens
    %5 = "stage.prefill"(%4) {model = "qwen2.5-coder-1.5b", name = "choose.prefill"} : (!stage.tokens) -> !agent.kv
    %6 = "stage.decode"(%5) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22first\22,\22second\22,\22third\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "choose.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %7 = "stage.detokenize"(%6) {format = "json", model = "qwen2.5-coder-1.5b", name = "choose.detokenize"} : (!stage.tokens) -> !agent.text
    %8 = "stage.constant"() {value = {first = "first", second = "second", third = "third"}} : () -> !agent.json
    %9 = "stage.compute"(%8, %7) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
    %10 = "stage.constant"() {value = "first"} : () -> !agent.text
    %11 = "stage.compute"(%9, %10) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %12 = scf.if %11 -> (!agent.text) {
      %15 = "stage.constant"() {value = 0 : i64} : () -> i64
      %16 = "stage.compute"(%3, %15) {fn = "item"} : (!agent.list, i64) -> !agent.text
      scf.yield %16 : !agent.text
    } else {
      %15 = "stage.constant"() {value = "second"} : () -> !agent.text
      %16 = "stage.compute"(%9, %15) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %17 = scf.if %16 -> (!agent.text) {
        %18 = "stage.constant"() {value = 1 : i64} : () -> i64
        %19 = "stage.compute"(%3, %18) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %19 : !agent.text
      } else {
        %18 = "stage.constant"() {value = 2 : i64} : () -> i64
        %19 = "stage.compute"(%3, %18) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %19 : !agent.text
      } {agent.arms = 2 : i64, agent.case = "second", agent.name = "switch"}
      scf.yield %17 : !agent.text
    } {agent.arms = 3 : i64, agent.case = "first", agent.name = "switch"}
    %13 = "agent.call"(%12) {callee = @lawyer, name = "lawyer", pattern = "single"} : (!agent.text) -> !agent.text
    %14 = "stage.tool"(%13) {effects = "write", idempotent = true, name = "publish", names = ["text"], retries = 0 : i64, signature = "aa2c99a4d881dfff", timeout_s = 3.000000e+01 : f64, tool = "publish"} : (!agent.text) -> !agent.text
    return %14 : !agent.text
  }
  func.func private @author(%arg0: !agent.text {agent.name = "style"}, %arg1: !agent.text {agent.name = "news"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "writes an announcement in one style"} {
    %0 = "stage.tokenize"(%arg0, %arg1) {model = "qwen2.5-coder-1.5b", name = "phrase.tokenize", names = ["style", "news"], prefix_ids = [{chars = 52 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Announce this to customers in one {style} sentence: {news}"}]} : (!agent.text, !agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "phrase.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "phrase.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "qwen2.5-coder-1.5b", name = "phrase.detokenize"} : (!stage.tokens) -> !agent.text
    return %3 : !agent.text
  }
  func.func private @lawyer(%arg0: !agent.text {agent.name = "text"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "makes a text safe to publish"} {
    %0 = "stage.tokenize"(%arg0) {model = "qwen2.5-coder-1.5b", name = "rate.tokenize", names = ["text"], prefix_ids = [{chars = 60 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Does this text make promises or name prices, or is it fine? {text}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "rate.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22fine\22,\22promises\22,\22prices\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "rate.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "json", model = "qwen2.5-coder-1.5b", name = "rate.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.constant"() {value = "fine"} : () -> !agent.text
    %5 = "stage.compute"(%3, %4) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %6 = scf.if %5 -> (!agent.text) {
      scf.yield %arg0 : !agent.text
    } else {
      %7 = "stage.tokenize"(%3, %arg0) {model = "qwen2.5-coder-1.5b", name = "soften.tokenize", names = ["problem", "text"], prefix_ids = [{chars = 30 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Rewrite this sentence without {problem}: {text}"}]} : (!agent.text, !agent.text) -> !stage.tokens
      %8 = "stage.prefill"(%7) {model = "qwen2.5-coder-1.5b", name = "soften.prefill"} : (!stage.tokens) -> !agent.kv
      %9 = "stage.decode"(%8) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "soften.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %10 = "stage.detokenize"(%9) {format = "text", model = "qwen2.5-coder-1.5b", name = "soften.detokenize"} : (!stage.tokens) -> !agent.text
      scf.yield %10 : !agent.text
    } {agent.arms = 2 : i64, agent.case = "fine", agent.name = "switch"}
    return %6 : !agent.text
  }
}
