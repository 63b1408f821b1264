module attributes {agent.version = 2 : i64} {
  func.func @desk(%arg0: !agent.text {agent.name = "question"}) -> !agent.list attributes {agent.pattern = "network"} {
    %0 = "agent.constant"() {value = "customer"} : () -> !agent.text
    %1 = "agent.compute"(%0, %arg0) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
    %2 = "agent.constant"() {value = "triage"} : () -> !agent.text
    %3 = "agent.compute"(%1) {fn = "list"} : (!agent.json) -> !agent.list
    %4 = "agent.compute"(%3, %2) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
    %5 = scf.while (%arg1 = %4) : (!agent.json) -> !agent.json {
      %7 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %8 = "agent.constant"() {value = "finish"} : () -> !agent.text
      %9 = "agent.compute"(%7, %8) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %10 = "agent.until"(%9) : (i1) -> i1
      scf.condition(%10) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %7 = "agent.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.list
      %8 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %9 = "agent.constant"() {value = {billing = "billing", technical = "technical", triage = "triage"}} : () -> !agent.json
      %10 = "agent.compute"(%9, %8) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %11 = "agent.constant"() {value = "triage"} : () -> !agent.text
      %12 = "agent.compute"(%10, %11) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %13 = scf.if %12 -> (!agent.json) {
        %14 = "agent.call"(%7) {callee = @triage, name = "triage", pattern = "single"} : (!agent.list) -> !agent.json
        scf.yield %14 : !agent.json
      } else {
        %14 = "agent.constant"() {value = "billing"} : () -> !agent.text
        %15 = "agent.compute"(%10, %14) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %16 = scf.if %15 -> (!agent.json) {
          %17 = "agent.call"(%7) {callee = @billing, name = "billing", pattern = "single"} : (!agent.list) -> !agent.json
          %18 = "agent.compute"(%17) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %19 = "agent.compute"(%17) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %20 = "agent.constant"() {value = "billing"} : () -> !agent.text
          %21 = "agent.compute"(%20, %19) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %22 = "agent.compute"(%21) {fn = "list"} : (!agent.json) -> !agent.list
          %23 = "agent.compute"(%7, %22) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %24 = "agent.compute"(%23, %18) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %24 : !agent.json
        } else {
          %17 = "agent.call"(%7) {callee = @technical, name = "technical", pattern = "single"} : (!agent.list) -> !agent.json
          %18 = "agent.compute"(%17) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %19 = "agent.compute"(%17) {fn = "get", key = "state"} : (!agent.json) -> !agent.text
          %20 = "agent.constant"() {value = "technical"} : () -> !agent.text
          %21 = "agent.compute"(%20, %19) {fn = "dict", keys = ["sender", "text"]} : (!agent.text, !agent.text) -> !agent.json
          %22 = "agent.compute"(%21) {fn = "list"} : (!agent.json) -> !agent.list
          %23 = "agent.compute"(%7, %22) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %24 = "agent.compute"(%23, %18) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
          scf.yield %24 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "billing", agent.name = "next"}
        scf.yield %16 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "triage", agent.name = "next"}
      scf.yield %13 : !agent.json
    } attributes {agent.max_trips = 5 : i64, agent.name = "network"}
    %6 = "agent.compute"(%5) {fn = "get", key = "state"} : (!agent.json) -> !agent.list
    return %6 : !agent.list
  }
  func.func private @triage(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "sorts questions"} {
    %0 = "agent.llm"(%arg0) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22technical\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "sort_question", names = ["talk"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "A customer wrote: {talk}\0AIs it about money (billing) or about a device (technical)?"}]} : (!agent.list) -> !agent.text
    %1 = "agent.compute"(%arg0, %0) {fn = "dict", keys = ["state", "to"]} : (!agent.list, !agent.text) -> !agent.json
    return %1 : !agent.json
  }
  func.func private @billing(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "bills and refunds"} {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "answer_billing", names = ["talk"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "You look after bills. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !agent.text
    %1 = "agent.constant"() {value = "billing"} : () -> !agent.text
    %2 = "agent.tool"(%1, %arg0) {effects = "write", idempotent = true, name = "open_ticket", names = ["queue", "talk"], retries = 0 : i64, signature = "a519126c31aa22b4", timeout_s = 3.000000e+01 : f64, tool = "open_ticket"} : (!agent.text, !agent.list) -> !agent.text
    %3 = "agent.llm"(%arg0, %0) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22technical\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "after_billing", names = ["talk", "answer"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Talk: {talk}\0ABilling answered: {answer}\0AIs a technician needed as well? Say \22technical\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !agent.text
    %4 = "agent.constant"() {value = " Ticket "} : () -> !agent.text
    %5 = "agent.compute"(%0, %4) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %6 = "agent.compute"(%5, %2) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %7 = "agent.constant"() {value = "."} : () -> !agent.text
    %8 = "agent.compute"(%6, %7) {fn = "add"} : (!agent.text, !agent.text) -> !agent.text
    %9 = "agent.compute"(%8, %3) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
    return %9 : !agent.json
  }
  func.func private @technical(%arg0: !agent.list {agent.name = "talk", agent.schema = {"$defs" = {Message = {description = "One thing that an agent, or whoever asked, has said.", properties = {sender = {title = "Sender", type = "string"}, text = {title = "Text", type = "string"}}, required = ["sender", "text"], title = "Message", type = "object"}}, items = {"$ref" = "#/$defs/Message"}, type = "array"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "devices that do not work"} {
    %0 = "agent.llm"(%arg0) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "answer_technical", names = ["talk"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "You are a technician. The talk so far: {talk}\0AAnswer the customer in one sentence."}]} : (!agent.list) -> !agent.text
    %1 = "agent.llm"(%arg0, %0) {format = "json", grammar = {kind = "json_schema", text = "{\22enum\22:[\22billing\22,\22finish\22],\22type\22:\22string\22}"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "after_technical", names = ["talk", "answer"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Talk: {talk}\0AThe technician answered: {answer}\0AIs money to be paid back? Say \22billing\22 if so, or \22finish\22."}]} : (!agent.list, !agent.text) -> !agent.text
    %2 = "agent.compute"(%0, %1) {fn = "dict", keys = ["state", "to"]} : (!agent.text, !agent.text) -> !agent.json
    return %2 : !agent.json
  }
}
