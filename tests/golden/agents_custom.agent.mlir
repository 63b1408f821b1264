module attributes {agent.version = 2 : i64} {
  func.func @announce(%arg0: !agent.text {agent.name = "news"}) -> !agent.text attributes {agent.pattern = "custom", agent.role = "announces news"} {
    %0 = "agent.constant"() {value = ["friendly", "short", "formal"]} : () -> !agent.list
    %c0_i64 = arith.constant 0 : i64
    %c1_i64 = arith.constant 1 : i64
    %1 = "agent.length"(%0) : (!agent.list) -> i64
    %2 = "agent.empty"() : () -> !agent.list
    %3 = scf.for %arg1 = %c0_i64 to %1 step %c1_i64 iter_args(%arg2 = %2) -> (!agent.list)  : i64 {
      %12 = "agent.element"(%0, %arg1) : (!agent.list, i64) -> !agent.text
      %13 = "agent.call"(%12, %arg0) {callee = @author, name = "author", pattern = "single"} : (!agent.text, !agent.text) -> !agent.text
      %14 = "agent.append"(%arg2, %13) : (!agent.list, !agent.text) -> !agent.list
      scf.yield %14 : !agent.list
    } {agent.name = "map", agent.parallel}
    %4 = "agent.llm"(%3) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22first\22,\22second\22,\22third\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "choose", names = ["texts"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Which of these three texts would customers like best?\0A{texts}"}]} : (!agent.list) -> !agent.text
    %5 = "agent.constant"() {value = {first = "first", second = "second", third = "third"}} : () -> !agent.json
    %6 = "agent.compute"(%5, %4) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
    %7 = "agent.constant"() {value = "first"} : () -> !agent.text
    %8 = "agent.compute"(%6, %7) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %9 = scf.if %8 -> (!agent.text) {
      %12 = "agent.constant"() {value = 0 : i64} : () -> i64
      %13 = "agent.compute"(%3, %12) {fn = "item"} : (!agent.list, i64) -> !agent.text
      scf.yield %13 : !agent.text
    } else {
      %12 = "agent.constant"() {value = "second"} : () -> !agent.text
      %13 = "agent.compute"(%6, %12) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %14 = scf.if %13 -> (!agent.text) {
        %15 = "agent.constant"() {value = 1 : i64} : () -> i64
        %16 = "agent.compute"(%3, %15) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %16 : !agent.text
      } else {
        %15 = "agent.constant"() {value = 2 : i64} : () -> i64
        %16 = "agent.compute"(%3, %15) {fn = "item"} : (!agent.list, i64) -> !agent.text
        scf.yield %16 : !agent.text
      } {agent.arms = 2 : i64, agent.case = "second", agent.name = "switch"}
      scf.yield %14 : !agent.text
    } {agent.arms = 3 : i64, agent.case = "first", agent.name = "switch"}
    %10 = "agent.call"(%9) {callee = @lawyer, name = "lawyer", pattern = "single"} : (!agent.text) -> !agent.text
    %11 = "agent.tool"(%10) {effects = "write", idempotent = true, name = "publish", names = ["text"], retries = 0 : i64, signature = "aa2c99a4d881dfff", timeout_s = 3.000000e+01 : f64, tool = "publish"} : (!agent.text) -> !agent.text
    return %11 : !agent.text
  }
  func.func private @author(%arg0: !agent.text {agent.name = "style"}, %arg1: !agent.text {agent.name = "news"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "writes an announcement in one style"} {
    %0 = "agent.llm"(%arg0, %arg1) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "phrase", names = ["style", "news"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Announce this to customers in one {style} sentence: {news}"}]} : (!agent.text, !agent.text) -> !agent.text
    return %0 : !agent.text
  }
  func.func private @lawyer(%arg0: !agent.text {agent.name = "text"}) -> !agent.text attributes {agent.pattern = "single", agent.role = "makes a text safe to publish"} {
    %0 = "agent.llm"(%arg0) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22fine\22,\22promises\22,\22prices\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "rate", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Does this text make promises or name prices, or is it fine? {text}"}]} : (!agent.text) -> !agent.text
    %1 = "agent.constant"() {value = "fine"} : () -> !agent.text
    %2 = "agent.compute"(%0, %1) {fn = "eq"} : (!agent.text, !agent.text) -> i1
    %3 = scf.if %2 -> (!agent.text) {
      scf.yield %arg0 : !agent.text
    } else {
      %4 = "agent.llm"(%0, %arg0) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "soften", names = ["problem", "text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Rewrite this sentence without {problem}: {text}"}]} : (!agent.text, !agent.text) -> !agent.text
      scf.yield %4 : !agent.text
    } {agent.arms = 2 : i64, agent.case = "fine", agent.name = "switch"}
    return %3 : !agent.text
  }
}
