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
        %13 = "stage.tokenize"(%7) {model = "qwen2.5-coder-1.5b", name = "triage/sort_question.tokenize", names = ["talk"], prefix_ids = [{chars = 18 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "A customer wrote: {talk}\0AIs it about money (billing) or about a device (technical)?"}]} : (!agent.list) -> !stage.tokens
        %14 = "stage.prefill"(%13) {model = "qwen2.5-coder-1.5b", name = "triage/sort_question.prefill"} : (!stage.tokens) -> !agent.kv
        %15 = "stage.decode"(%14) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22technical\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "triage/sort_question.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
        %16 = "stage.detokenize"(%15) {format = "json", model = "qwen2.5-coder-1.5b", name = "triage/sort_question.detokenize"} : (!stage.tokens) -> !agent.text
        %17 = "stage.compute"(%7, %16) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
        scf.yield %17 : !agent.json
      } else {
        %13 = "stage.constant"() {value = "billing"} : () -> !agent.text
        %14 = "stage.compute"(%10, %13) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %15 = scf.if %14 -> (!agent.json) {
          %16 = "stage.tokenize"(%7) {model = "qwen2.5-coder-1.5b", name = "billing/answer_billing.tokenize", names = ["talk"], prefix_ids = [{chars = 39 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You look after bills. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !stage.tokens
          %17 = "stage.prefill"(%16) {model = "qwen2.5-coder-1.5b", name = "billing/answer_billing.prefill"} : (!stage.tokens) -> !agent.kv
          %18 = "stage.decode"(%17) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "billing/answer_billing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %19 = "stage.detokenize"(%18) {format = "text", model = "qwen2.5-coder-1.5b", name = "billing/answer_billing.detokenize"} : (!stage.tokens) -> !agent.text
          %20 = "stage.tool"(%13, %7) {effects = "write", idempotent = true, name = "billing/open_ticket", names = ["queue", "talk"], retries = 0 : i64, signature = "a519126c31aa22b4", timeout_s = 3.000000e+01 : f64, tool = "open_ticket"} : (!agent.text, !agent.list) -> !agent.text
          %21 = "stage.tokenize"(%7, %19) {model = "qwen2.5-coder-1.5b", name = "billing/after_billing.tokenize", names = ["talk", "answer"], prefix_ids = [{chars = 6 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Talk: {talk}\0ABilling answered: {answer}\0AIs a technician needed as well? Say \22technical\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !stage.tokens
          %22 = "stage.prefill"(%21) {model = "qwen2.5-coder-1.5b", name = "billing/after_billing.prefill"} : (!stage.tokens) -> !agent.kv
          %23 = "stage.decode"(%22) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22technical\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "billing/after_billing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %24 = "stage.detokenize"(%23) {format = "json", model = "qwen2.5-coder-1.5b", name = "billing/after_billing.detokenize"} : (!stage.tokens) -> !agent.text
          %25 = "stage.constant"() {value = " Ticket "} : () -> !agent.text
          %26 = "stage.compute"(%19, %25) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
          %27 = "stage.compute"(%26, %20) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
          %28 = "stage.constant"() {value = "."} : () -> !agent.text
          %29 = "stage.compute"(%27, %28) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
          %30 = "stage.compute"(%29, %24) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
          %31 = "stage.compute"(%30) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %32 = "stage.compute"(%30) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %33 = "stage.compute"(%13, %32) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %34 = "stage.compute"(%33) {fn = "list"} : (!agent.json) -> !agent.list
          %35 = "stage.compute"(%7, %34) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %36 = "stage.compute"(%35, %31) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %36 : !agent.json
        } else {
          %16 = "stage.tokenize"(%7) {model = "qwen2.5-coder-1.5b", name = "technical/answer_technical.tokenize", names = ["talk"], prefix_ids = [{chars = 39 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You are a technician. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !stage.tokens
          %17 = "stage.prefill"(%16) {model = "qwen2.5-coder-1.5b", name = "technical/answer_technical.prefill"} : (!stage.tokens) -> !agent.kv
          %18 = "stage.decode"(%17) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "technical/answer_technical.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %19 = "stage.detokenize"(%18) {format = "text", model = "qwen2.5-coder-1.5b", name = "technical/answer_technical.detokenize"} : (!stage.tokens) -> !agent.text
          %20 = "stage.tokenize"(%7, %19) {model = "qwen2.5-coder-1.5b", name = "technical/after_technical.tokenize", names = ["talk", "answer"], prefix_ids = [{chars = 6 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Talk: {talk}\0AThe technician answered: {answer}\0AIs money to be paid back? Say \22billing\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !stage.tokens
          %21 = "stage.prefill"(%20) {model = "qwen2.5-coder-1.5b", name = "technical/after_technical.prefill"} : (!stage.tokens) -> !agent.kv
          %22 = "stage.decode"(%21) {grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "technical/after_technical.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %23 = "stage.detokenize"(%22) {format = "json", model = "qwen2.5-coder-1.5b", name = "technical/after_technical.detokenize"} : (!stage.tokens) -> !agent.text
          %24 = "stage.compute"(%19, %23) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
          %25 = "stage.compute"(%24) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %26 = "stage.compute"(%24) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %27 = "stage.constant"() {value = "technical"} : () -> !agent.text
          %28 = "stage.compute"(%27, %26) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %29 = "stage.compute"(%28) {fn = "list"} : (!agent.json) -> !agent.list
          %30 = "stage.compute"(%7, %29) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %31 = "stage.compute"(%30, %25) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %31 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "billing", agent.name = "next"}
        scf.yield %15 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "triage", agent.name = "next"}
      scf.yield %12 : !agent.json
    } attributes {agent.max_trips = 5 : i64, agent.name = "network"}
    %6 = "stage.compute"(%5) {fn = "get", key = "state"} : (!agent.json) -> !agent.list
    return %6 : !agent.list
  }
}
