module attributes {agent.version = 2 : i64} {
  func.func @report(%arg0: !agent.text {agent.name = "topic"}) -> !agent.json attributes {agent.deadline_s = 1.200000e+02 : f64, agent.pattern = "supervisor"} {
    %0 = "agent.constant"() {value = []} : () -> !agent.list
    %1 = "agent.constant"() {value = ""} : () -> !agent.text
    %2 = "agent.constant"() {value = ""} : () -> !agent.text
    %3 = "agent.compute"(%arg0, %0, %1, %2) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
    %4 = "agent.constant"() {value = ""} : () -> !agent.text
    %5 = "agent.constant"() {value = []} : () -> !agent.list
    %6 = "agent.compute"(%3, %4, %5) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %7 = scf.while (%arg1 = %6) : (!agent.json) -> !agent.json {
      %9 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %10 = "agent.constant"() {value = "finish"} : () -> !agent.text
      %11 = "agent.compute"(%9, %10) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %12 = "agent.until"(%11) : (i1) -> i1
      scf.condition(%12) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %9 = "agent.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %10 = "agent.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %11 = "agent.compute"(%9) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
      %12 = "agent.compute"(%9) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
      %13 = "agent.compute"(%9) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
      %14 = "agent.compute"(%9) {fn = "get", key = "remarks"} : (!agent.json) -> !agent.text
      %15 = "agent.constant"() {value = "research: finds facts\0Awrite: writes the text from the facts\0Areview: criticises the text\0Afinish: the work is done"} : () -> !agent.text
      %16 = "agent.llm"(%11, %15, %12, %13, %14, %10) {format = "text", grammar = {kind = "regex", text = "research|write|review|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead", names = ["topic", "agents", "facts", "text", "remarks", "done"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "You lead a team that writes a report on {topic}:\0A{agents}\0A\0AFacts: {facts}\0AText: {text}\0ARemarks: {remarks}\0AHave worked so far: {done}\0A\0AFacts come first, then a text, then remarks, then finish. Who is next?"}]} : (!agent.text, !agent.text, !agent.list, !agent.text, !agent.text, !agent.list) -> !agent.text
      %17 = "agent.constant"() {value = {finish = "finish", research = "research", review = "review", write = "write"}} : () -> !agent.json
      %18 = "agent.compute"(%17, %16) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %19 = "agent.constant"() {value = "research"} : () -> !agent.text
      %20 = "agent.compute"(%18, %19) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %21 = scf.if %20 -> (!agent.json) {
        %25 = "agent.call"(%9) {callee = @research, name = "research", pattern = "single"} : (!agent.json) -> !agent.json
        scf.yield %25 : !agent.json
      } else {
        %25 = "agent.constant"() {value = "write"} : () -> !agent.text
        %26 = "agent.compute"(%18, %25) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %27 = scf.if %26 -> (!agent.json) {
          %28 = "agent.call"(%9) {callee = @write, name = "write", pattern = "single"} : (!agent.json) -> !agent.json
          scf.yield %28 : !agent.json
        } else {
          %28 = "agent.constant"() {value = "review"} : () -> !agent.text
          %29 = "agent.compute"(%18, %28) {fn = "eq"} : (!agent.text, !agent.text) -> i1
          %30 = scf.if %29 -> (!agent.json) {
            %31 = "agent.call"(%9) {callee = @review, name = "review", pattern = "single"} : (!agent.json) -> !agent.json
            scf.yield %31 : !agent.json
          } else {
            scf.yield %9 : !agent.json
          } {agent.arms = 2 : i64, agent.case = "review", agent.name = "next"}
          scf.yield %30 : !agent.json
        } {agent.arms = 3 : i64, agent.case = "write", agent.name = "next"}
        scf.yield %27 : !agent.json
      } {agent.arms = 4 : i64, agent.case = "research", agent.name = "next"}
      %22 = "agent.compute"(%16) {fn = "list"} : (!agent.text) -> !agent.list
      %23 = "agent.compute"(%10, %22) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %24 = "agent.compute"(%21, %16, %23) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %24 : !agent.json
    } attributes {agent.max_trips = 6 : i64, agent.name = "supervise"}
    %8 = "agent.compute"(%7) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %8 : !agent.json
  }
  func.func private @research(%arg0: !agent.json {agent.name = "report", agent.schema = {description = "What the agents work on.", properties = [unit, ["topic", {title = "Topic", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}], ["remarks", {title = "Remarks", type = "string"}]], required = ["topic", "facts", "text", "remarks"], title = "Report", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "finds facts"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
    %1 = "agent.tool"(%0) {effects = "read", idempotent = true, name = "find_facts", names = ["topic"], retries = 0 : i64, signature = "7d448baf9836628c", timeout_s = 3.000000e+01 : f64, tool = "find_facts"} : (!agent.text) -> !agent.list
    %2 = "agent.compute"(%arg0) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %4 = "agent.compute"(%arg0) {fn = "get", key = "remarks"} : (!agent.json) -> !agent.text
    %5 = "agent.compute"(%2, %1, %3, %4) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
    return %5 : !agent.json
  }
  func.func private @write(%arg0: !agent.json {agent.name = "report", agent.schema = {description = "What the agents work on.", properties = [unit, ["topic", {title = "Topic", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}], ["remarks", {title = "Remarks", type = "string"}]], required = ["topic", "facts", "text", "remarks"], title = "Report", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "writes the text from the facts"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
    %1 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %2 = "agent.compute"(%arg0) {fn = "get", key = "remarks"} : (!agent.json) -> !agent.text
    %3 = "agent.llm"(%1, %2, %0) {format = "text", max_tokens = 64 : i64, model = "qwen2.5-coder-1.5b", name = "compose", names = ["facts", "remarks", "topic"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Facts: {facts}\0ARemarks on the last version: {remarks}\0AWrite two sentences about {topic}. Use the facts."}]} : (!agent.list, !agent.text, !agent.text) -> !agent.text
    %4 = "agent.compute"(%arg0) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
    %5 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %6 = "agent.compute"(%arg0) {fn = "get", key = "remarks"} : (!agent.json) -> !agent.text
    %7 = "agent.compute"(%4, %5, %3, %6) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
    return %7 : !agent.json
  }
  func.func private @review(%arg0: !agent.json {agent.name = "report", agent.schema = {description = "What the agents work on.", properties = [unit, ["topic", {title = "Topic", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}], ["remarks", {title = "Remarks", type = "string"}]], required = ["topic", "facts", "text", "remarks"], title = "Report", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "criticises the text"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %1 = "agent.llm"(%0) {format = "text", max_tokens = 32 : i64, model = "qwen2.5-coder-1.5b", name = "criticise", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Say in one short sentence what this text lacks, or \22good\22: {text}"}]} : (!agent.text) -> !agent.text
    %2 = "agent.compute"(%arg0) {fn = "get", key = "topic"} : (!agent.json) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %4 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %5 = "agent.compute"(%2, %3, %4, %1) {fn = "dict", keys = ["topic", "facts", "text", "remarks"]} : (!agent.text, !agent.list, !agent.text, !agent.text) -> !agent.json
    return %5 : !agent.json
  }
}
