module attributes {agent.version = 2 : i64} {
  func.func @handbook(%arg0: !agent.text {agent.name = "subject"}) -> !agent.json attributes {agent.deadline_s = 3.000000e+02 : f64, agent.pattern = "hierarchical"} {
    %0 = "stage.constant"() {value = []} : () -> !agent.list
    %1 = "stage.constant"() {value = ""} : () -> !agent.text
    %2 = "stage.compute"(%arg0, %0, %1) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    %3 = "stage.compute"(%2, %1, %0) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %4 = scf.while (%arg1 = %3) : (!agent.json) -> !agent.json {
      %6 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %7 = "stage.constant"() {value = "finish"} : () -> !agent.text
      %8 = "stage.compute"(%6, %7) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %9 = "agent.until"(%8) : (i1) -> i1
      scf.condition(%9) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %6 = "stage.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %7 = "stage.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %8 = "stage.constant"() {value = "researchers: finds out what is true\0Awriters: write the page from the facts\0Afinish: the work is done"} : () -> !agent.text
      %9 = "stage.tokenize"(%8, %6) {model = "qwen2.5-coder-1.5b", name = "edit.tokenize", names = ["agents", "page"], prefix_ids = [{chars = 39 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "You lead two teams: {agents}\0AThe page: {page}\0AFirst facts, then a text, then finish. Who is next?"}]} : (!agent.text, !agent.json) -> !stage.tokens
      %10 = "stage.prefill"(%9) {model = "qwen2.5-coder-1.5b", name = "edit.prefill"} : (!stage.tokens) -> !agent.kv
      %11 = "stage.decode"(%10) {grammar = {kind = "regex", text = "researchers|writers|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "edit.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %12 = "stage.detokenize"(%11) {format = "text", model = "qwen2.5-coder-1.5b", name = "edit.detokenize"} : (!stage.tokens) -> !agent.text
      %13 = "stage.constant"() {value = {finish = "finish", researchers = "researchers", writers = "writers"}} : () -> !agent.json
      %14 = "stage.compute"(%13, %12) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %15 = "stage.constant"() {value = "researchers"} : () -> !agent.text
      %16 = "stage.compute"(%14, %15) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %17 = scf.if %16 -> (!agent.json) {
        %21 = "agent.call"(%6) {callee = @researchers, name = "researchers", pattern = "supervisor"} : (!agent.json) -> !agent.json
        scf.yield %21 : !agent.json
      } else {
        %21 = "stage.constant"() {value = "writers"} : () -> !agent.text
        %22 = "stage.compute"(%14, %21) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %23 = scf.if %22 -> (!agent.json) {
          %24 = "agent.call"(%6) {callee = @writers, name = "writers", pattern = "supervisor"} : (!agent.json) -> !agent.json
          scf.yield %24 : !agent.json
        } else {
          scf.yield %6 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "writers", agent.name = "next"}
        scf.yield %23 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "researchers", agent.name = "next"}
      %18 = "stage.compute"(%12) {fn = "list"} : (!agent.text) -> !agent.list
      %19 = "stage.compute"(%7, %18) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %20 = "stage.compute"(%17, %12, %19) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %20 : !agent.json
    } attributes {agent.max_trips = 4 : i64, agent.name = "supervise"}
    %5 = "stage.compute"(%4) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %5 : !agent.json
  }
  func.func private @researchers(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "supervisor", agent.role = "finds out what is true"} {
    %0 = "stage.constant"() {value = ""} : () -> !agent.text
    %1 = "stage.constant"() {value = []} : () -> !agent.list
    %2 = "stage.compute"(%arg0, %0, %1) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %6 = "stage.constant"() {value = "finish"} : () -> !agent.text
      %7 = "stage.compute"(%5, %6) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "stage.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %6 = "stage.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %7 = "stage.constant"() {value = "search: reads the library\0Acheck: removes facts that contradict each other\0Afinish: the work is done"} : () -> !agent.text
      %8 = "stage.tokenize"(%7, %6) {model = "qwen2.5-coder-1.5b", name = "lead_research.tokenize", names = ["agents", "done"], prefix_ids = [{chars = 40 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ASearch once, check once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !stage.tokens
      %9 = "stage.prefill"(%8) {model = "qwen2.5-coder-1.5b", name = "lead_research.prefill"} : (!stage.tokens) -> !agent.kv
      %10 = "stage.decode"(%9) {grammar = {kind = "regex", text = "search|check|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_research.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %11 = "stage.detokenize"(%10) {format = "text", model = "qwen2.5-coder-1.5b", name = "lead_research.detokenize"} : (!stage.tokens) -> !agent.text
      %12 = "stage.constant"() {value = {check = "check", finish = "finish", search = "search"}} : () -> !agent.json
      %13 = "stage.compute"(%12, %11) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %14 = "stage.constant"() {value = "search"} : () -> !agent.text
      %15 = "stage.compute"(%13, %14) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %16 = scf.if %15 -> (!agent.json) {
        %20 = "agent.call"(%5) {callee = @search, name = "search", pattern = "single"} : (!agent.json) -> !agent.json
        scf.yield %20 : !agent.json
      } else {
        %20 = "stage.constant"() {value = "check"} : () -> !agent.text
        %21 = "stage.compute"(%13, %20) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %22 = scf.if %21 -> (!agent.json) {
          %23 = "agent.call"(%5) {callee = @check, name = "check", pattern = "single"} : (!agent.json) -> !agent.json
          scf.yield %23 : !agent.json
        } else {
          scf.yield %5 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "check", agent.name = "next"}
        scf.yield %22 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "search", agent.name = "next"}
      %17 = "stage.compute"(%11) {fn = "list"} : (!agent.text) -> !agent.list
      %18 = "stage.compute"(%6, %17) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %19 = "stage.compute"(%16, %11, %18) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %19 : !agent.json
    } attributes {agent.max_trips = 3 : i64, agent.name = "research"}
    %4 = "stage.compute"(%3) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @search(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "reads the library"} {
    %0 = "stage.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %1 = "stage.tool"(%0) {effects = "read", idempotent = true, name = "read_library", names = ["subject"], retries = 0 : i64, signature = "18c14595bfb9f4ec", timeout_s = 3.000000e+01 : f64, tool = "read_library"} : (!agent.text) -> !agent.list
    %2 = "stage.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %3 = "stage.compute"(%0, %1, %2) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %3 : !agent.json
  }
  func.func private @check(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "removes facts that contradict each other"} {
    %0 = "stage.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %1 = "stage.tool"(%0) {effects = "none", idempotent = true, name = "without_doubts", names = ["facts"], retries = 0 : i64, signature = "9d73f6b345ec7b09", timeout_s = 3.000000e+01 : f64, tool = "without_doubts"} : (!agent.list) -> !agent.list
    %2 = "stage.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %3 = "stage.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %4 = "stage.compute"(%2, %1, %3) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @writers(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "supervisor", agent.role = "write the page from the facts"} {
    %0 = "stage.constant"() {value = ""} : () -> !agent.text
    %1 = "stage.constant"() {value = []} : () -> !agent.list
    %2 = "stage.compute"(%arg0, %0, %1) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
    %3 = scf.while (%arg1 = %2) : (!agent.json) -> !agent.json {
      %5 = "stage.compute"(%arg1) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
      %6 = "stage.constant"() {value = "finish"} : () -> !agent.text
      %7 = "stage.compute"(%5, %6) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %8 = "agent.until"(%7) : (i1) -> i1
      scf.condition(%8) %arg1 : !agent.json
    } do {
    ^bb0(%arg1: !agent.json):
      %5 = "stage.compute"(%arg1) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
      %6 = "stage.compute"(%arg1) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
      %7 = "stage.constant"() {value = "draft: writes the text\0Ashorten: makes the text short\0Afinish: the work is done"} : () -> !agent.text
      %8 = "stage.tokenize"(%7, %6) {model = "qwen2.5-coder-1.5b", name = "lead_writing.tokenize", names = ["agents", "done"], prefix_ids = [{chars = 40 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ADraft once, shorten once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !stage.tokens
      %9 = "stage.prefill"(%8) {model = "qwen2.5-coder-1.5b", name = "lead_writing.prefill"} : (!stage.tokens) -> !agent.kv
      %10 = "stage.decode"(%9) {grammar = {kind = "regex", text = "draft|shorten|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_writing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
      %11 = "stage.detokenize"(%10) {format = "text", model = "qwen2.5-coder-1.5b", name = "lead_writing.detokenize"} : (!stage.tokens) -> !agent.text
      %12 = "stage.constant"() {value = {draft = "draft", finish = "finish", shorten = "shorten"}} : () -> !agent.json
      %13 = "stage.compute"(%12, %11) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
      %14 = "stage.constant"() {value = "draft"} : () -> !agent.text
      %15 = "stage.compute"(%13, %14) {fn = "eq"} : (!agent.text, !agent.text) -> i1
      %16 = scf.if %15 -> (!agent.json) {
        %20 = "agent.call"(%5) {callee = @draft, name = "draft", pattern = "single"} : (!agent.json) -> !agent.json
        scf.yield %20 : !agent.json
      } else {
        %20 = "stage.constant"() {value = "shorten"} : () -> !agent.text
        %21 = "stage.compute"(%13, %20) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %22 = scf.if %21 -> (!agent.json) {
          %23 = "agent.call"(%5) {callee = @shorten, name = "shorten", pattern = "single"} : (!agent.json) -> !agent.json
          scf.yield %23 : !agent.json
        } else {
          scf.yield %5 : !agent.json
        } {agent.arms = 2 : i64, agent.case = "shorten", agent.name = "next"}
        scf.yield %22 : !agent.json
      } {agent.arms = 3 : i64, agent.case = "draft", agent.name = "next"}
      %17 = "stage.compute"(%11) {fn = "list"} : (!agent.text) -> !agent.list
      %18 = "stage.compute"(%6, %17) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
      %19 = "stage.compute"(%16, %11, %18) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
      scf.yield %19 : !agent.json
    } attributes {agent.max_trips = 3 : i64, agent.name = "writing"}
    %4 = "stage.compute"(%3) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
    return %4 : !agent.json
  }
  func.func private @draft(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "writes the text"} {
    %0 = "stage.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %1 = "stage.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %2 = "stage.tokenize"(%0, %1) {model = "qwen2.5-coder-1.5b", name = "compose.tokenize", names = ["subject", "facts"], prefix_ids = [{chars = 28 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Write one plain sentence on {subject} for each of these facts: {facts}"}]} : (!agent.text, !agent.list) -> !stage.tokens
    %3 = "stage.prefill"(%2) {model = "qwen2.5-coder-1.5b", name = "compose.prefill"} : (!stage.tokens) -> !agent.kv
    %4 = "stage.decode"(%3) {max_tokens = 64 : i64, model = "qwen2.5-coder-1.5b", name = "compose.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %5 = "stage.detokenize"(%4) {format = "text", model = "qwen2.5-coder-1.5b", name = "compose.detokenize"} : (!stage.tokens) -> !agent.text
    %6 = "stage.compute"(%0, %1, %5) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %6 : !agent.json
  }
  func.func private @shorten(%arg0: !agent.json {agent.name = "page", agent.schema = {description = "A page of a handbook in the making.", properties = [unit, ["subject", {title = "Subject", type = "string"}], ["facts", {items = {type = "string"}, title = "Facts", type = "array"}], ["text", {title = "Text", type = "string"}]], required = ["subject", "facts", "text"], title = "Page", type = "object"}}) -> !agent.json attributes {agent.pattern = "single", agent.role = "makes the text short"} {
    %0 = "stage.compute"(%arg0) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
    %1 = "stage.tokenize"(%0) {model = "qwen2.5-coder-1.5b", name = "cut.tokenize", names = ["text"], prefix_ids = [{chars = 30 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Say this in at most 20 words: {text}"}]} : (!agent.text) -> !stage.tokens
    %2 = "stage.prefill"(%1) {model = "qwen2.5-coder-1.5b", name = "cut.prefill"} : (!stage.tokens) -> !agent.kv
    %3 = "stage.decode"(%2) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "cut.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
    %4 = "stage.detokenize"(%3) {format = "text", model = "qwen2.5-coder-1.5b", name = "cut.detokenize"} : (!stage.tokens) -> !agent.text
    %5 = "stage.compute"(%arg0) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
    %6 = "stage.compute"(%arg0) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
    %7 = "stage.compute"(%5, %6, %4) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
    return %7 : !agent.json
  }
}
