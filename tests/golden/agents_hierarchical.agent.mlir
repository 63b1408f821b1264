module attributes {agent.version = 2 : i64} {
  func.func @handbook(%arg0: !agent.text {agent.name = "subject"}) -> !agent.json attributes {agent.deadline_s = 3.000000e+02 : f64, agent.pattern = "hierarchical"} {
    %0 = "agent.constant"() {value = []} : () -> !agent.list
    %1 = "agent.constant"() {value = ""} : () -> !agent.text
    %2 = "agent.compute"(%arg0, %0, %1) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    %3 = "agent.constant"() {value = ""} : () -> !agent.text
    %4 = "agent.constant"() {value = []} : () -> !agent.list
    %5 = "agent.compute"(%2, %3, %4) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %6 = scf.while (%arg1 = %5) : (!agent.json) -> !agent.json {
      %8 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %9 = "agent.constant"() {value = "finish"} : () -> !agent.text
      %10 = "agent.compute"(%8, %9) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %11 = "agent.until"(%10) : (i1) -> i1
      scf.condition(%11) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %8 = "agent.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %9 = "agent.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %10 = "agent.constant"() {value = "researchers: finds out what is true\0Awriters: write the page from the facts\0Afinish: the work is done"} : () -> !agent.text
      %11 = "agent.llm"(%10, %8) {format = "text", grammar = {kind = "regex", text = "researchers|writers|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "edit", names = ["agents", "page"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "You lead two teams: {agents}\0AThe page: {page}\0AFirst facts, then a text, then finish. Who is next?"}]} : (!agent.text, !agent.json) -> !agent.text
      %12 = "agent.constant"() {value = {finish = "finish", researchers = "researchers", writers = "writers"}} : () -> !agent.json
      %13 = "agent.compute"(%12, %11) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %14 = "agent.constant"() {value = "researchers"} : () -> !agent.text
      %15 = "agent.compute"(%13, %14) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %16 = scf.if %15 -> (!agent.json) {
        %20 = "agent.call"(%8) {callee = @researchers, name = "researchers", pattern = "supervisor"} : (!agent.json) -> !agent.json
        scf.yield %20 : !agent.json
      } else {
        %20 = "agent.constant"() {value = "writers"} : () -> !agent.text
        %21 = "agent.compute"(%13, %20) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %22 = scf.if %21 -> (!agent.json) {
          %23 = "agent.call"(%8) {callee = @writers, name = "writers", pattern = "supervisor"} : (!agent.json) -> !agent.json
          scf.yield %23 : !agent.json
        } else {
          scf.yield %8 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "writers", agent.name = "next"}
        scf.yield %22 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "researchers", agent.name = "next"}
      %17 = "agent.compute"(%11) {fn = "list"} : (!agent.text) -> !agent.list
      %18 = "agent.compute"(%9, %17) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %19 = "agent.compute"(%16, %11, %18) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %19 : !agent.json
    } attributes {agent.max_trips = 4 : i64, agent.name = "supervise"}
    %7 = "agent.compute"(%6) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %7 : !agent.json
  }
  func.func private @researchers(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "supervisor", agent.role = "finds out what is true"} {
    %0 = "agent.constant"() {value = ""} : () -> !agent.text
    %1 = "agent.constant"() {value = []} : () -> !agent.list
    %2 = "agent.compute"(%arg0, %0, %1) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %6 = "agent.constant"() {value = "finish"} : () -> !agent.text
      %7 = "agent.compute"(%5, %6) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "agent.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %6 = "agent.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %7 = "agent.constant"() {value = "search: reads the library\0Acheck: removes facts that contradict each other\0Afinish: the work is done"} : () -> !agent.text
      %8 = "agent.llm"(%7, %6) {format = "text", grammar = {kind = "regex", text = "search|check|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_research", names = ["agents", "done"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ASearch once, check once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !agent.text
      %9 = "agent.constant"() {value = {check = "check", finish = "finish", search = "search"}} : () -> !agent.json
      %10 = "agent.compute"(%9, %8) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %11 = "agent.constant"() {value = "search"} : () -> !agent.text
      %12 = "agent.compute"(%10, %11) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %13 = scf.if %12 -> (!agent.json) {
        %17 = "agent.call"(%5) {callee = @search, name = "search", pattern = "single"} : (!agent.json) -> !agent.json
        scf.yield %17 : !agent.json
      } else {
        %17 = "agent.constant"() {value = "check"} : () -> !agent.text
        %18 = "agent.compute"(%10, %17) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %19 = scf.if %18 -> (!agent.json) {
          %20 = "agent.call"(%5) {callee = @check, name = "check", pattern = "single"} : (!agent.json) -> !agent.json
          scf.yield %20 : !agent.json
        } else {
          scf.yield %5 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "check", agent.name = "next"}
        scf.yield %19 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "search", agent.name = "next"}
      %14 = "agent.compute"(%8) {fn = "list"} : (!agent.text) -> !agent.list
      %15 = "agent.compute"(%6, %14) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %16 = "agent.compute"(%13, %8, %15) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %16 : !agent.json
    } attributes {agent.max_trips = 3 : i64, agent.name = "research"}
    %4 = "agent.compute"(%3) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @search(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "reads the library"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %1 = "agent.tool"(%0) {effects = "read", idempotent = true, name = "read_library", names = ["subject"], retries = 0 : i64, signature = "18c14595bfb9f4ec", timeout_s = 3.000000e+01 : f64, tool = "read_library"} : (!agent.text) -> !agent.list
    %2 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %4 = "agent.compute"(%2, %1, %3) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @check(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "removes facts that contradict each other"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %1 = "agent.tool"(%0) {effects = "none", idempotent = true, name = "without_doubts", names = ["facts"], retries = 0 : i64, signature = "9d73f6b345ec7b09", timeout_s = 3.000000e+01 : f64, tool = "without_doubts"} : (!agent.list) -> !agent.list
    %2 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %4 = "agent.compute"(%2, %1, %3) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @writers(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "supervisor", agent.role = "write the page from the facts"} {
    %0 = "agent.constant"() {value = ""} : () -> !agent.text
    %1 = "agent.constant"() {value = []} : () -> !agent.list
    %2 = "agent.compute"(%arg0, %0, %1) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "agent.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %6 = "agent.constant"() {value = "finish"} : () -> !agent.text
      %7 = "agent.compute"(%5, %6) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "agent.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %6 = "agent.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %7 = "agent.constant"() {value = "draft: writes the text\0Ashorten: makes the text short\0Afinish: the work is done"} : () -> !agent.text
      %8 = "agent.llm"(%7, %6) {format = "text", grammar = {kind = "regex", text = "draft|shorten|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_writing", names = ["agents", "done"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ADraft once, shorten once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !agent.text
      %9 = "agent.constant"() {value = {draft = "draft", finish = "finish", shorten = "shorten"}} : () -> !agent.json
      %10 = "agent.compute"(%9, %8) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %11 = "agent.constant"() {value = "draft"} : () -> !agent.text
      %12 = "agent.compute"(%10, %11) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %13 = scf.if %12 -> (!agent.json) {
        %17 = "agent.call"(%5) {callee = @draft, name = "draft", pattern = "single"} : (!agent.json) -> !agent.json
        scf.yield %17 : !agent.json
      } else {
        %17 = "agent.constant"() {value = "shorten"} : () -> !agent.text
        %18 = "agent.compute"(%10, %17) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %19 = scf.if %18 -> (!agent.json) {
          %20 = "agent.call"(%5) {callee = @shorten, name = "shorten", pattern = "single"} : (!agent.json) -> !agent.json
          scf.yield %20 : !agent.json
        } else {
          scf.yield %5 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "shorten", agent.name = "next"}
        scf.yield %19 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "draft", agent.name = "next"}
      %14 = "agent.compute"(%8) {fn = "list"} : (!agent.text) -> !agent.list
      %15 = "agent.compute"(%6, %14) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %16 = "agent.compute"(%13, %8, %15) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %16 : !agent.json
    } attributes {agent.max_trips = 3 : i64, agent.name = "writing"}
    %4 = "agent.compute"(%3) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @draft(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "writes the text"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %1 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %2 = "agent.llm"(%0, %1) {format = "text", max_tokens = 64 : i64, model = "qwen2.5-coder-1.5b", name = "compose", names = ["subject", "facts"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Write one plain sentence on {subject} for each of these facts: {facts}"}]} : (!agent.text, !agent.list) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %4 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %5 = "agent.compute"(%3, %4, %2) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %5 : !agent.json
  }
  func.func private @shorten(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "makes the text short"} {
    %0 = "agent.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %1 = "agent.llm"(%0) {format = "text", max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "cut", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Say this in at most 20 words: {text}"}]} : (!agent.text) -> !agent.text
    %2 = "agent.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %3 = "agent.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %4 = "agent.compute"(%2, %3, %1) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %4 : !agent.json
  }
}
