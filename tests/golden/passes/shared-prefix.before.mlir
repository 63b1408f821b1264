// The schema is the same for all questions on a database, the question for both calls.
module attributes {agent.version = 2 : i64} {
  func.func @w(%arg0: !agent.text {agent.name = "question"}, %arg1: !agent.database {agent.name = "db"}) -> !agent.text {
    %0 = "agent.tool"(%arg1) {effects = "read", idempotent = true, name = "show", names = ["db"], retries = 0 : i64, signature = "459f5687eeefc1ad", timeout_s = 3.000000e+01 : f64, tool = "show"} : (!agent.database) -> !agent.text
    %1 = "agent.llm"(%arg0, %0) {format = "text", free = ["question", "schema"], max_tokens = 9 : i64, model = "m", name = "draft", names = ["question", "schema"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Write a query.\0AQuestion: {question}\0ASchema:\0A{schema}\0A\0ASQL:"}]} : (!agent.text, !agent.text) -> !agent.text
    %2 = "agent.llm"(%1, %arg0, %0) {format = "text", free = ["question", "schema"], max_tokens = 9 : i64, model = "m", name = "judge", names = ["sql", "question", "schema"], temperature = 0.000000e+00 : f64, template = [{role = "user", text = "Write a query.\0AQuery: {sql}\0A\0AQuestion: {question}\0A\0ASchema:\0A{schema}\0A\0AIs it right?"}]} : (!agent.text, !agent.text, !agent.text) -> !agent.text
    return %2 : !agent.text
  }
}
