module attributes {agent.version = 2 : i64} {
  func.func @flow(%arg0: !agent.text {agent.name = "topic"}) -> !agent.text {
    %0 = "stage.tokenize"(%arg0) {model = "m8b", name = "draft.tokenize", names = ["topic"], template = [{role = "user", text = "Do {topic}"}]} : (!agent.text) -> !stage.tokens
    %1:2 = "stage.prefill_shard"(%0) {agent.bytes = 1.000000e+09 : f64, agent.device = "h100/0", agent.flops = 2.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 2.000000e+05 : f64, degree = 2 : i64, model = "m8b", name = "draft.prefill.0", rank = 0 : i64} : (!stage.tokens) -> (!agent.kv, !stage.hidden)
    %2:2 = "stage.prefill_shard"(%0) {agent.bytes = 1.000000e+09 : f64, agent.device = "h100/1", agent.flops = 2.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 2.000000e+05 : f64, degree = 2 : i64, model = "m8b", name = "draft.prefill.1", rank = 1 : i64} : (!stage.tokens) -> (!agent.kv, !stage.hidden)
    %3 = "stage.all_reduce"(%1#1, %2#1) {agent.device = "h100", agent.input_tokens = 4.000000e+02 : f64, agent.network_bytes = 8.000000e+05 : f64, degree = 2 : i64, name = "draft.prefill.sum"} : (!stage.hidden, !stage.hidden) -> !stage.hidden
    %4 = "stage.join_kv"(%3, %1#0, %2#0) {agent.device = "h100", agent.input_tokens = 4.000000e+02 : f64, model = "m8b", name = "draft.prefill.join"} : (!stage.hidden, !agent.kv, !agent.kv) -> !agent.kv
    %5 = "stage.decode_shard"(%4) {agent.bytes = 1.000000e+09 : f64, agent.device = "h100/0", agent.flops = 2.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 2.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, degree = 2 : i64, model = "m8b", name = "draft.decode.0", rank = 0 : i64} : (!agent.kv) -> !stage.hidden
    %6 = "stage.decode_shard"(%4) {agent.bytes = 1.000000e+09 : f64, agent.device = "h100/1", agent.flops = 2.000000e+11 : f64, agent.input_tokens = 4.000000e+02 : f64, agent.kv_bytes = 2.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, degree = 2 : i64, model = "m8b", name = "draft.decode.1", rank = 1 : i64} : (!agent.kv) -> !stage.hidden
    %7 = "stage.all_reduce"(%5, %6) {agent.device = "h100", agent.input_tokens = 4.000000e+02 : f64, agent.network_bytes = 2.000000e+05 : f64, agent.output_tokens = 1.000000e+02 : f64, degree = 2 : i64, name = "draft.decode.sum"} : (!stage.hidden, !stage.hidden) -> !stage.hidden
    %8 = "stage.sample"(%7) {agent.device = "h100", agent.input_tokens = 4.000000e+02 : f64, agent.output_tokens = 1.000000e+02 : f64, max_tokens = 200 : i64, model = "m8b", name = "draft.decode.sample", names = []} : (!stage.hidden) -> !stage.tokens
    %9 = "stage.detokenize"(%8) {format = "text", model = "m8b", name = "draft.detokenize"} : (!stage.tokens) -> !agent.text
    return %9 : !agent.text
  }
}
