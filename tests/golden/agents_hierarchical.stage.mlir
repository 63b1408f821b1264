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
        %21 = "stage.compute"(%6, %1, %0) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
        %22 = scf.while (%arg2 = %21) : (!agent.json) -> !agent.json {
          %24 = "stage.compute"(%arg2) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
          %25 = "stage.constant"() {value = "finish"} : () -> !agent.text
          %26 = "stage.compute"(%24, %25) {fn = "eq"} : (!agent.text, !agent.text) -> i1
          %27 = "agent.until"(%26) : (i1) -> i1
          scf.condition(%27) %arg2 : !agent.json
        } do {
        ^bb0(%arg2: !agent.json):
          %24 = "stage.compute"(%arg2) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
          %25 = "stage.compute"(%arg2) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
          %26 = "stage.constant"() {value = "search: reads the library\0Acheck: removes facts that contradict each other\0Afinish: the work is done"} : () -> !agent.text
          %27 = "stage.tokenize"(%26, %25) {model = "qwen2.5-coder-1.5b", name = "lead_research.tokenize", names = ["agents", "done"], prefix_ids = [{chars = 40 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ASearch once, check once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !stage.tokens
          %28 = "stage.prefill"(%27) {model = "qwen2.5-coder-1.5b", name = "lead_research.prefill"} : (!stage.tokens) -> !agent.kv
          %29 = "stage.decode"(%28) {grammar = {kind = "regex", text = "search|check|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_research.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
          %30 = "stage.detokenize"(%29) {format = "text", model = "qwen2.5-coder-1.5b", name = "lead_research.detokenize"} : (!stage.tokens) -> !agent.text
          %31 = "stage.constant"() {value = {check = "check", finish = "finish", search = "search"}} : () -> !agent.json
          %32 = "stage.compute"(%31, %30) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
          %33 = "stage.constant"() {value = "search"} : () -> !agent.text
          %34 = "stage.compute"(%32, %33) {fn = "eq"} : (!agent.text, !agent.text) -> i1
          %35 = scf.if %34 -> (!agent.json) {
            %39 = "stage.compute"(%24) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
            %40 = "stage.tool"(%39) {effects = "read", idempotent = true, name = "search/read_library", names = ["subject"], retries = 0 : i64, signature = "18c14595bfb9f4ec", timeout_s = 3.000000e+01 : f64, tool = "read_library"} : (!agent.text) -> !agent.list
            %41 = "stage.compute"(%24) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
            %42 = "stage.compute"(%39, %40, %41) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
            scf.yield %42 : !agent.json
          } else {
            %39 = "stage.constant"() {value = "check"} : () -> !agent.text
            %40 = "stage.compute"(%32, %39) {fn = "eq"} : (!agent.text, !agent.text) -> i1
            %41 = scf.if %40 -> (!agent.json) {
              %42 = "stage.compute"(%24) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
              %43 = "stage.tool"(%42) {effects = "none", idempotent = true, name = "check/without_doubts", names = ["facts"], retries = 0 : i64, signature = "9d73f6b345ec7b09", timeout_s = 3.000000e+01 : f64, tool = "without_doubts"} : (!agent.list) -> !agent.list
              %44 = "stage.compute"(%24) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
              %45 = "stage.compute"(%24) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
              %46 = "stage.compute"(%44, %43, %45) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
              scf.yield %46 : !agent.json
            } else {
              scf.yield %24 : !agent.json
            } {agent.arms = 2 : i64, agent.case = "check", agent.name = "next"}
            scf.yield %41 : !agent.json
          } {agent.arms = 3 : i64, agent.case = "search", agent.name = "next"}
          %36 = "stage.compute"(%30) {fn = "list"} : (!agent.text) -> !agent.list
          %37 = "stage.compute"(%25, %36) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
          %38 = "stage.compute"(%35, %30, %37) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
          scf.yield %38 : !agent.json
        } attributes {agent.max_trips = 3 : i64, agent.name = "researchers/research"}
        %23 = "stage.compute"(%22) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
        scf.yield %23 : !agent.json
      } else {
        %21 = "stage.constant"() {value = "writers"} : () -> !agent.text
        %22 = "stage.compute"(%14, %21) {fn = "eq"} : (!agent.text, !agent.text) -> i1
        %23 = scf.if %22 -> (!agent.json) {
          %24 = "stage.compute"(%6, %1, %0) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
          %25 = scf.while (%arg2 = %24) : (!agent.json) -> !agent.json {
            %27 = "stage.compute"(%arg2) {fn = "get", key = "to"} : (!agent.json) -> !agent.text
            %28 = "stage.constant"() {value = "finish"} : () -> !agent.text
            %29 = "stage.compute"(%27, %28) {fn = "eq"} : (!agent.text, !agent.text) -> i1
            %30 = "agent.until"(%29) : (i1) -> i1
            scf.condition(%30) %arg2 : !agent.json
          } do {
          ^bb0(%arg2: !agent.json):
            %27 = "stage.compute"(%arg2) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
            %28 = "stage.compute"(%arg2) {fn = "get", key = "done"} : (!agent.json) -> !agent.list
            %29 = "stage.constant"() {value = "draft: writes the text\0Ashorten: makes the text short\0Afinish: the work is done"} : () -> !agent.text
            %30 = "stage.tokenize"(%29, %28) {model = "qwen2.5-coder-1.5b", name = "lead_writing.tokenize", names = ["agents", "done"], prefix_ids = [{chars = 40 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Your team: {agents}\0AHave worked so far: {done}\0ADraft once, shorten once, then finish. Who is next?"}]} : (!agent.text, !agent.list) -> !stage.tokens
            %31 = "stage.prefill"(%30) {model = "qwen2.5-coder-1.5b", name = "lead_writing.prefill"} : (!stage.tokens) -> !agent.kv
            %32 = "stage.decode"(%31) {grammar = {kind = "regex", text = "draft|shorten|finish"}, max_tokens = 16 : i64, model = "qwen2.5-coder-1.5b", name = "lead_writing.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
            %33 = "stage.detokenize"(%32) {format = "text", model = "qwen2.5-coder-1.5b", name = "lead_writing.detokenize"} : (!stage.tokens) -> !agent.text
            %34 = "stage.constant"() {value = {draft = "draft", finish = "finish", shorten = "shorten"}} : () -> !agent.json
            %35 = "stage.compute"(%34, %33) {fn = "item"} : (!agent.json, !agent.text) -> !agent.text
            %36 = "stage.constant"() {value = "draft"} : () -> !agent.text
            %37 = "stage.compute"(%35, %36) {fn = "eq"} : (!agent.text, !agent.text) -> i1
            %38 = scf.if %37 -> (!agent.json) {
              %42 = "stage.compute"(%27) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
              %43 = "stage.compute"(%27) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
              %44 = "stage.tokenize"(%42, %43) {model = "qwen2.5-coder-1.5b", name = "draft/compose.tokenize", names = ["subject", "facts"], prefix_ids = [{chars = 28 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Write one plain sentence on {subject} for each of these facts: {facts}"}]} : (!agent.text, !agent.list) -> !stage.tokens
              %45 = "stage.prefill"(%44) {model = "qwen2.5-coder-1.5b", name = "draft/compose.prefill"} : (!stage.tokens) -> !agent.kv
              %46 = "stage.decode"(%45) {max_tokens = 64 : i64, model = "qwen2.5-coder-1.5b", name = "draft/compose.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
              %47 = "stage.detokenize"(%46) {format = "text", model = "qwen2.5-coder-1.5b", name = "draft/compose.detokenize"} : (!stage.tokens) -> !agent.text
              %48 = "stage.compute"(%42, %43, %47) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
              scf.yield %48 : !agent.json
            } else {
              %42 = "stage.constant"() {value = "shorten"} : () -> !agent.text
              %43 = "stage.compute"(%35, %42) {fn = "eq"} : (!agent.text, !agent.text) -> i1
              %44 = scf.if %43 -> (!agent.json) {
                %45 = "stage.compute"(%27) {fn = "get", key = "text"} : (!agent.json) -> !agent.text
                %46 = "stage.tokenize"(%45) {model = "qwen2.5-coder-1.5b", name = "shorten/cut.tokenize", names = ["text"], prefix_ids = [{chars = 30 : i64, message = 0 : i64, scope = "constant"}], template = [{role = "user", text = "Say this in at most 20 words: {text}"}]} : (!agent.text) -> !stage.tokens
                %47 = "stage.prefill"(%46) {model = "qwen2.5-coder-1.5b", name = "shorten/cut.prefill"} : (!stage.tokens) -> !agent.kv
                %48 = "stage.decode"(%47) {max_tokens = 48 : i64, model = "qwen2.5-coder-1.5b", name = "shorten/cut.decode", names = [], temperature = 0.000000e+00 : f64} : (!agent.kv) -> !stage.tokens
                %49 = "stage.detokenize"(%48) {format = "text", model = "qwen2.5-coder-1.5b", name = "shorten/cut.detokenize"} : (!stage.tokens) -> !agent.text
                %50 = "stage.compute"(%27) {fn = "get", key = "subject"} : (!agent.json) -> !agent.text
                %51 = "stage.compute"(%27) {fn = "get", key = "facts"} : (!agent.json) -> !agent.list
                %52 = "stage.compute"(%50, %51, %49) {fn = "dict", keys = ["subject", "facts", "text"]} : (!agent.text, !agent.list, !agent.text) -> !agent.json
                scf.yield %52 : !agent.json
              } else {
                scf.yield %27 : !agent.json
              } {agent.arms = 2 : i64, agent.case = "shorten", agent.name = "next"}
              scf.yield %44 : !agent.json
            } {agent.arms = 3 : i64, agent.case = "draft", agent.name = "next"}
            %39 = "stage.compute"(%33) {fn = "list"} : (!agent.text) -> !agent.list
            %40 = "stage.compute"(%28, %39) {fn = "add"} : (!agent.list, !agent.list) -> !agent.list
            %41 = "stage.compute"(%38, %33, %40) {fn = "dict", keys = ["state", "to", "done"]} : (!agent.json, !agent.text, !agent.list) -> !agent.json
            scf.yield %41 : !agent.json
          } attributes {agent.max_trips = 3 : i64, agent.name = "writers/writing"}
          %26 = "stage.compute"(%25) {fn = "get", key = "state"} : (!agent.json) -> !agent.json
          scf.yield %26 : !agent.json
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
}
