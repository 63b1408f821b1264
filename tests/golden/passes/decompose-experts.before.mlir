// Two experts; in the prefill each on two devices, whose merges are summed.
module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "mixture", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1 = "stage.prefill"(%0) {agent.bytes = 2.000000e+09 : f64, agent.device = "h100", agent.flops = 4.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 4.000000e+05 : f64, model = "mixture", name = "draft.prefill"} : (!stage.tokens) -> !agent.kv
    %2 = "stage.decode"(%1) {agent.bytes = 2.000000e+09 : f64, agent.device = "h100", agent.flops = 4.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 4.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, max_tokens = 200 : i64, model = "mixture", name = "draft.decode", names = []} : (!agent.kv) -> !stage.tokens
    %3 = "stage.detokenize"(%2) {format = "text", model = "mixture", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    return %3 : !agent.text
  }
}
