module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "page"}) -> !agent.text {
    %0 = "agent.tool"(%arg0) {effects = "write", idempotent = false, name = "log", names = ["text"], retries = 0 : i64, signature = "log", timeout_s = 1.000000e+00 : f64, tool = "log"} : (!agent.text) -> !agent.text
    %1 = "agent.llm"(%arg1) {agent.within = ["expert"], format = "text", max_tokens = 8 : i64, model = "m", name = "expert/translate", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "translate {text}"}]} : (!agent.text) -> !agent.text
    %2 = "agent.tool"(%arg0, %0) {agent.within = ["expert"], effects = "read", idempotent = true, name = "expert/look", names = ["text"], retries = 0 : i64, signature = "look", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text, !agent.text) -> !agent.text
    %3 = "agent.tool"(%arg0, %0, %2) {agent.within = ["expert"], effects = "write", idempotent = false, name = "expert/note", names = ["text"], retries = 0 : i64, signature = "note", timeout_s = 1.000000e+00 : f64, tool = "note"} : (!agent.text, !agent.text, !agent.text) -> !agent.text
    %4 = "agent.llm"(%1) {format = "text", max_tokens = 8 : i64, model = "m", name = "answer", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "answer {text}"}]} : (!agent.text) -> !agent.text
    %5 = "agent.tool"(%arg0, %3) {effects = "write", idempotent = false, name = "send", names = ["text"], retries = 0 : i64, signature = "send", timeout_s = 1.000000e+00 : f64, tool = "send"} : (!agent.text, !agent.text) -> !agent.text
    %6 = "agent.llm"(%arg1) {agent.within = ["expert#2"], format = "text", max_tokens = 8 : i64, model = "m", name = "expert#2/translate", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "translate {text}"}]} : (!agent.text) -> !agent.text
    %7 = "agent.tool"(%4, %5) {agent.within = ["expert#2"], effects = "read", idempotent = true, name = "expert#2/look", names = ["text"], retries = 0 : i64, signature = "look", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text, !agent.text) -> !agent.text
    %8 = "agent.tool"(%4, %5, %7) {agent.within = ["expert#2"], effects = "write", idempotent = false, name = "expert#2/note", names = ["text"], retries = 0 : i64, signature = "note", timeout_s = 1.000000e+00 : f64, tool = "note"} : (!agent.text, !agent.text, !agent.text) -> !agent.text
    return %6 : !agent.text
  }
  func.func private @expert(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "page"}) -> !agent.text {
    %0 = "agent.llm"(%arg1) {format = "text", max_tokens = 8 : i64, model = "m", name = "translate", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "translate {text}"}]} : (!agent.text) -> !agent.text
    %1 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "look", names = ["text"], retries = 0 : i64, signature = "look", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text) -> !agent.text
    %2 = "agent.tool"(%arg0, %1) {effects = "write", idempotent = false, name = "note", names = ["text"], retries = 0 : i64, signature = "note", timeout_s = 1.000000e+00 : f64, tool = "note"} : (!agent.text, !agent.text) -> !agent.text
    return %0 : !agent.text
  }
}
