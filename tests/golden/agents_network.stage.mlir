module attributes {agent.version = 2 : i64} {
  func.func @desk(%arg0: !agent.text {agent.name = "question"}) -> !agent.list attributes {agent.pattern = "network"} {
    %0 = "stage.constant"() {value = "customer"} : () -> !agent.text
    %1 = "stage.compute"(%0, %arg0) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
    %2 = "stage.constant"() {value = "triage"} : () -> !agent.text
    %3 = "stage.compute"(%1) {fn = "list"} : (!agent.json) -> !agent.list
    %4 = "stage.compute"(%3, %2) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
    %5 = scf.while (%arg1 = %4) : (!agent.json) -> !agent.json {
      %7 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %8 = "stage.constant"() {value = "finish"} : () -> !agent.text
      %9 = "stage.compute"(%7, %8) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %10 = "agent.until"(%9) : (i1) -> i1
      scf.condition(%10) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %7 = "stage.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.list
      %8 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %9 = "stage.constant"() {value = {billing = "billing", technical = "technical", triage = "triage"}} : () -> !agent.json
      %10 = "stage.compute"(%9, %8) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %11 = "stage.compute"(%10, %2) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %12 = scf.if %11 -> (!agent.json) {
        %13 = "agent.call"(%7) {callee = @triage, name = "triage", pattern = "single"} : (!agent.list) -> !agent.json
        scf.yield %13 : !agent.json
      } else {
        %13 = "stage.constant"() {value = "billing"} : () -> !agent.text
        %14 = "stage.compute"(%10, %13) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %15 = scf.if %14 -> (!agent.json) {
          %16 = "agent.call"(%7) {callee = @billing, name = "billing", pattern = "single"} : (!agent.list) -> !agent.json
          %17 = "stage.compute"(%16) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %18 = "stage.compute"(%16) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %19 = "stage.compute"(%13, %18) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %20 = "stage.compute"(%19) {fn = "list"} : (!agent.json) -> !agent.list
          %21 = "stage.compute"(%7, %20) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %22 = "stage.compute"(%21, %17) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %22 : !agent.json
        } else {
          %16 = "agent.call"(%7) {callee = @technical, name = "technical", pattern = "single"} : (!agent.list) -> !agent.json
          %17 = "stage.compute"(%16) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %18 = "stage.compute"(%16) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %19 = "stage.constant"() {value = "technical"} : () -> !agent.text
          %20 = "stage.compute"(%19, %18) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %21 = "stage.compute"(%20) {fn = "list"} : (!agent.json) -> !agent.list
          %22 = "stage.compute"(%7, %21) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %23 = "stage.compute"(%22, %17) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %23 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "billing", agent.name = "next"}
        scf.yield %15 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "triage", agent.name = "next"}
      scf.yield %12 : !agent.json
    } attributes {agent.max_trips = 5 : i64, agent.name = "network"}
    %6 = "stage.compute"(%5) {fn = "get", key = "state"} : (!agent.json) -> !agent.list
    return %6 : !agent.list
  }
  func.func private @triage(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "sorts questions"} {
    %0 = "stage.tokenize"(%arg0) {model = "qwen2.5-coder-1.5b", name = "sort_question.tokenize", names = ["talk"], prefix_ids = [{chars = 18 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "A customer wrote: {talk}\0AIs it about money (billing) or about a device (technical)?"}]} : (!agent.list) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "sort_question.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22technical\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "sort_question.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "json", model = "qwen2.5-coder-1.5b", name = "sort_question.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.compute"(%arg0, %3) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @billing(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "bills and refunds"} {
    %0 = "stage.tokenize"(%arg0) {model = "qwen2.5-coder-1.5b", name = "answer_billing.tokenize", names = ["talk"], prefix_ids = [{chars = 39 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You look after bills. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "answer_billing.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "answer_billing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "qwen2.5-coder-1.5b", name = "answer_billing.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.constant"() {value = "billing"} : () -> !agent.text
    %5 = "stage.tool"(%4, %arg0) {effects = "write", idempotent = true, name = "open_ticket", names = ["queue", "talk"], retries = 0 : i64, signature = "a519126c31aa22b4", timeout_s = 3.000000e+01 : f64, tool = "open_ticket"} : (!agent.text, !agent.list) -> !agent.text
    %6 = "stage.tokenize"(%arg0, %3) {model = "qwen2.5-coder-1.5b", name = "after_billing.tokenize", names = ["talk", "answer"], prefix_ids = [{chars = 6 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Talk: {talk}\0ABilling answered: {answer}\0AIs a technician needed as well? Say \22technical\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !stage.tokens
    %7 = "stage.prefill"(%6) {model = "qwen2.5-coder-1.5b", name = "after_billing.prefill"} : (!stage.tokens) -> !agent.kv
    %8 = "stage.decode"(%7) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22technical\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "after_billing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %9 = "stage.detokenize"(%8) {format = "json", model = "qwen2.5-coder-1.5b", name = "after_billing.detokenize"} : (!stage.tokens) -> !agent.text
    %10 = "stage.constant"() {value = " Ticket "} : () -> !agent.text
    %11 = "stage.compute"(%3, %10) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %12 = "stage.compute"(%11, %5) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %13 = "stage.constant"() {value = "."} : () -> !agent.text
    %14 = "stage.compute"(%12, %13) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %15 = "stage.compute"(%14, %9) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
    return %15 : !agent.json
  }
  func.func private @technical(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "devices that do not work"} {
    %0 = "stage.tokenize"(%arg0) {model = "qwen2.5-coder-1.5b", name = "answer_technical.tokenize", names = ["talk"], prefix_ids = [{chars = 39 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You are a technician. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !stage.tokens
    %1 = "stage.prefill"(%0) {model = "qwen2.5-coder-1.5b", name = "answer_technical.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "answer_technical.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "qwen2.5-coder-1.5b", name = "answer_technical.detokenize"} : (!stage.tokens) -> !agent.text
    %4 = "stage.tokenize"(%arg0, %3) {model = "qwen2.5-coder-1.5b", name = "after_technical.tokenize", names = ["talk", "answer"], prefix_ids = [{chars = 6 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Talk: {talk}\0AThe technician answered: {answer}\0AIs money to be paid back? Say \22billing\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !stage.tokens
    %5 = "stage.prefill"(%4) {model = "qwen2.5-coder-1.5b", name = "after_technical.prefill"} : (!stage.tokens) -> !agent.kv
    %6 = "stage.decode"(%5) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "after_technical.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %7 = "stage.detokenize"(%6) {format = "json", model = "qwen2.5-coder-1.5b", name = "after_technical.detokenize"} : (!stage.tokens) -> !agent.text
    %8 = "stage.compute"(%3, %7) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
    return %8 : !agent.json
  }
}
