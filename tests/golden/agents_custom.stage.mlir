module attributes {agent.version = 2 : i64} {
  func.func @announce(%arg0: !agent.text {agent.name = "news"}) -> !agent.text attributes {agent.pattern = "custom", agent.role = "announces news"} {
    %0 = "stage.constant"() {value = ["friendly", "short", "formal"]} : () -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %21 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %22 = "stage.tokenize"(%21, %arg0) {model = "qwen2.5-coder-1.5b", name = "author/phrase.tokenize", names = ["style", "news"], prefix_ids = [{chars = 52 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Announce this to customers in one {style} sentence: {news}"}]} : (!agent.text, !agent.text) -> !stage.tokens
      %23 = "stage.prefill"(%22) {model = "qwen2.5-coder-1.5b", name = "author/phrase.prefill"} : (!stage.tokens) -> !agent.kv
      %24 = "stage.decode"(%23) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "author/phrase.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %25 = "stage.detokenize"(%24) {format = "text", model = "qwen2.5-coder-1.5b", name = "author/phrase.detokenize"} : (!stage.tokens) -> !agent.text
      %26 = "agent.append"(%arg2, %25) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %26 : !agent.list
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
      %21 = "stage.constant"() {value = 0 : i64} : () -> i64
      %22 = "stage.compute"(%3, %21) {fn = "item"} : (!agent.list, i64) -> !agent.text
      scf.yield %22 : !agent.text
    } else {
      %21 = "stage.constant"() {value = "second"} : () -> !agent.text
      %22 = "stage.compute"(%9, %21) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %23 = scf.if %22 -> (!agent.text) {
        %24 = "stage.constant"() {value = 1 : i64} : () -> i64
        %25 = "stage.compute"(%3, %24) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %25 : !agent.text
      } else {
        %24 = "stage.constant"() {value = 2 : i64} : () -> i64
        %25 = "stage.compute"(%3, %24) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %25 : !agent.text
      } {agent.arms = 2 : i64, agent.case = "second", agent.name = "switch"}
      scf.yield %23 : !agent.text
    } {agent.arms = 3 : i64, agent.case = "first", agent.name = "switch"}
    %13 = "stage.tokenize"(%12) {model = "qwen2.5-coder-1.5b", name = "lawyer/rate.tokenize", names = ["text"], prefix_ids = [{chars = 60 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Does this text make promises or name prices, or is it fine? {text}"}]} : (!agent.text) -> !stage.tokens
    %14 = "stage.prefill"(%13) {model = "qwen2.5-coder-1.5b", name = "lawyer/rate.prefill"} : (!stage.tokens) -> !agent.kv
    %15 = "stage.decode"(%14) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22fine\22,\22promises\22,\22prices\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lawyer/rate.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %16 = "stage.detokenize"(%15) {format = "json", model = "qwen2.5-coder-1.5b", name = "lawyer/rate.detokenize"} : (!stage.tokens) -> !agent.text
    %17 = "stage.constant"() {value = "fine"} : () -> !agent.text
    %18 = "stage.compute"(%16, %17) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %19 = scf.if %18 -> (!agent.text) {
      scf.yield %12 : !agent.text
    } else {
      %21 = "stage.tokenize"(%16, %12) {model = "qwen2.5-coder-1.5b", name = "lawyer/soften.tokenize", names = ["problem", "text"], prefix_ids = [{chars = 30 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Rewrite this sentence without {problem}: {text}"}]} : (!agent.text, !agent.text) -> !stage.tokens
      %22 = "stage.prefill"(%21) {model = "qwen2.5-coder-1.5b", name = "lawyer/soften.prefill"} : (!stage.tokens) -> !agent.kv
      %23 = "stage.decode"(%22) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "lawyer/soften.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %24 = "stage.detokenize"(%23) {format = "text", model = "qwen2.5-coder-1.5b", name = "lawyer/soften.detokenize"} : (!stage.tokens) -> !agent.text
      scf.yield %24 : !agent.text
    } {agent.arms = 2 : i64, agent.case = "fine", agent.name = "lawyer/switch"}
    %20 = "stage.tool"(%19) {effects = "write", idempotent = true, name = "publish", names = ["text"], retries = 0 : i64, signature = "aa2c99a4d881dfff", timeout_s = 3.000000e+01 : f64, tool = "publish"} : (!agent.text) -> !agent.text
    return %20 : !agent.text
  }
}
