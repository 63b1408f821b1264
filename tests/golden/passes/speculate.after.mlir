module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {agent.bytes = 2.000000e+09 : f64, agent.device = "h100", agent.flops = 4.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 4.000000e+05 : f64, model = "m8b", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.tokenize"(%arg0) {agent.device = "h100", model = "m1b", name = "draft.decode.draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %3 = "stage.prefill"(%2) {agent.device = "h100", model = "m1b", name = "draft.decode.draft.prefill"} : (!stage.tokens) -> !agent.kv
    %4 = "stage.draft"(%3) {agent.device = "h100", model = "m1b", name = "draft.decode.draft.draft", width = 4 : i64} : (!agent.kv) -> !stage.tokens
    %5 = "stage.verify"(%1, %4) {agent.bytes = 2.000000e+09 : f64, agent.device = "h100", agent.flops = 4.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 4.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, max_tokens = 200 : i64, model = "m8b", name = "draft.decode.verify", names = []} : (!agent.kv, !stage.tokens) -> !stage.tokens
    %6 = "stage.detokenize"(%5) {format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    return %6 : !agent.text
  }
}
