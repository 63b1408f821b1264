// `translate` begins with the job: it reads the second input only. The frame of a call had two
// barriers, which its steps with effects now keep themselves: `look` and `note` wait for `log`, as
// the call did, and `send`, which waited for the call, waits for `note`. `answer` does not: it reads
// what the agent returns. Steps keep their ids (`expert/translate`), and the second call is #2.
module attributes {agent.version = 2 : i64} {
  func.func @main(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "page"}) -> !agent.text {
    %0 = "agent.tool"(%arg0) {effects = "write", idempotent = false, name = "log", names = ["text"], retries = 0 : i64, signature = "log", timeout_s = 1.000000e+00 : f64, tool = "log"} : (!agent.text) -> !agent.text
    %1 = "agent.call"(%arg0, %arg1, %0) {callee = @expert, name = "expert"} : (!agent.text, !agent.text, !agent.text) -> !agent.text
    %2 = "agent.llm"(%1) {format = "text", max_tokens = 8 : i64, model = "m", name = "answer", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "answer {text}"}]} : (!agent.text) -> !agent.text
    %3 = "agent.tool"(%arg0, %1) {effects = "write", idempotent = false, name = "send", names = ["text"], retries = 0 : i64, signature = "send", timeout_s = 1.000000e+00 : f64, tool = "send"} : (!agent.text, !agent.text) -> !agent.text
    %4 = "agent.call"(%2, %arg1, %3) {callee = @expert, name = "expert"} : (!agent.text, !agent.text, !agent.text) -> !agent.text
    return %4 : !agent.text
  }
  func.func private @expert(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.text {agent.name = "page"}) -> !agent.text {
    %0 = "agent.llm"(%arg1) {format = "text", max_tokens = 8 : i64, model = "m", name = "translate", names = ["text"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "translate {text}"}]} : (!agent.text) -> !agent.text
    %1 = "agent.tool"(%arg0) {effects = "read", idempotent = true, name = "look", names = ["text"], retries = 0 : i64, signature = "look", timeout_s = 1.000000e+00 : f64, tool = "look"} : (!agent.text) -> !agent.text
    %2 = "agent.tool"(%arg0, %1) {effects = "write", idempotent = false, name = "note", names = ["text"], retries = 0 : i64, signature = "note", timeout_s = 1.000000e+00 : f64, tool = "note"} : (!agent.text, !agent.text) -> !agent.text
    return %0 : !agent.text
  }
}
