"""Pages of other people's servers as their makers show them, cut to the families that are read here.

Each says who wrote it, which version that was and where it was published; labels are shortened where they are long.
"""

from __future__ import annotations

#: SGLang 0.4 (docs/references/production_metrics.md of sgl-project/sglang, 00b08c49): a server under load.
SGLANG_04 = """\
# HELP sglang:prompt_tokens_total Number of prefill tokens processed.
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 8.128902e+06
# HELP sglang:generation_tokens_total Number of generation tokens processed.
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.557572e+06
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
# HELP sglang:cache_hit_rate The cache hit rate
# TYPE sglang:cache_hit_rate gauge
sglang:cache_hit_rate{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.007507552643049313
# HELP sglang:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_sum{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2.3518979474117756e+06
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="meta-llama/Llama-3.1-8B-Instruct"} 6.0
sglang:time_to_first_token_seconds_bucket{le="1.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 27.0
sglang:time_to_first_token_seconds_bucket{le="10.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1330.0
sglang:time_to_first_token_seconds_bucket{le="30.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 2513.0
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="meta-llama/Llama-3.1-8B-Instruct"} 11008.0
sglang:time_to_first_token_seconds_count{model_name="meta-llama/Llama-3.1-8B-Instruct"} 11008.0
# HELP sglang:e2e_request_latency_seconds Histogram of End-to-end request latency in seconds
# TYPE sglang:e2e_request_latency_seconds histogram
sglang:e2e_request_latency_seconds_sum{model_name="meta-llama/Llama-3.1-8B-Instruct"} 3.116093850019932e+06
sglang:e2e_request_latency_seconds_bucket{le="0.5",model_name="meta-llama/Llama-3.1-8B-Instruct"} 6.0
sglang:e2e_request_latency_seconds_bucket{le="5.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.0
sglang:e2e_request_latency_seconds_bucket{le="60.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1513.0
sglang:e2e_request_latency_seconds_bucket{le="+Inf",model_name="meta-llama/Llama-3.1-8B-Instruct"} 11228.0
sglang:e2e_request_latency_seconds_count{model_name="meta-llama/Llama-3.1-8B-Instruct"} 11228.0
# HELP sglang:time_per_output_token_seconds Histogram of time per output token in seconds.
# TYPE sglang:time_per_output_token_seconds histogram
sglang:time_per_output_token_seconds_sum{model_name="meta-llama/Llama-3.1-8B-Instruct"} 866964.5791549598
sglang:time_per_output_token_seconds_bucket{le="0.1",model_name="meta-llama/Llama-3.1-8B-Instruct"} 4.950195e+06
sglang:time_per_output_token_seconds_bucket{le="1.0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.357747e+06
sglang:time_per_output_token_seconds_bucket{le="+Inf",model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.400757e+06
sglang:time_per_output_token_seconds_count{model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.400757e+06
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# HELP sglang:gen_throughput The generate throughput (token/s)
# TYPE sglang:gen_throughput gauge
sglang:gen_throughput{model_name="meta-llama/Llama-3.1-8B-Instruct"} 86.50814177726902
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
"""

#: SGLang 0.5: names and labels of sgl-project/sglang, python/sglang/srt/observability/metrics_collector.py (016d8605)
#: and srt/utils/common.py; two data-parallel ranks of two tensor-parallel ones each. The figures are ours.
SGLANG_05 = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="0"} 3.0
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="1"} 3.0
sglang:num_running_reqs{dp_rank="1",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="2"} 4.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="0"} 1.0
# TYPE sglang:token_usage gauge
sglang:token_usage{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="0"} 0.4
sglang:token_usage{dp_rank="1",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="2"} 0.6
# TYPE sglang:cache_hit_rate gauge
sglang:cache_hit_rate{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="0"} 0.9
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{engine_type="unified",is_streaming="true",model_name="glm"} 800.0
sglang:prompt_tokens_total{engine_type="unified",is_streaming="false",model_name="glm"} 200.0
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{engine_type="unified",is_streaming="true",model_name="glm"} 90.0
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{cache_source="device",engine_type="unified",model_name="glm"} 300.0
sglang:cached_tokens_total{cache_source="host",engine_type="unified",model_name="glm"} 100.0
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{engine_type="unified",is_streaming="true",model_name="glm"} 30.0
sglang:num_requests_total{engine_type="unified",is_streaming="false",model_name="glm"} 10.0
# TYPE sglang:num_retracted_requests_total counter
sglang:num_retracted_requests_total{dp_rank="0",engine_type="unified",model_name="glm",pp_rank="0",tp_rank="0"} 2.0
# TYPE sglang:http_responses_total counter
sglang:http_responses_total{endpoint="/v1/chat/completions",method="POST",status_code="200"} 40.0
sglang:http_responses_total{endpoint="/v1/chat/completions",method="POST",status_code="400"} 5.0
sglang:http_responses_total{endpoint="/v1/chat/completions",method="POST",status_code="503"} 2.0
sglang:http_responses_total{endpoint="/health",method="GET",status_code="503"} 900.0
# TYPE sglang:e2e_request_latency_seconds histogram
sglang:e2e_request_latency_seconds_bucket{engine_type="unified",is_streaming="true",le="1.0",model_name="glm"} 20.0
sglang:e2e_request_latency_seconds_bucket{engine_type="unified",is_streaming="true",le="+Inf",model_name="glm"} 30.0
sglang:e2e_request_latency_seconds_bucket{engine_type="unified",is_streaming="false",le="1.0",model_name="glm"} 9.0
sglang:e2e_request_latency_seconds_bucket{engine_type="unified",is_streaming="false",le="+Inf",model_name="glm"} 10.0
sglang:e2e_request_latency_seconds_sum{engine_type="unified",is_streaming="true",model_name="glm"} 33.0
# TYPE sglang:inter_token_latency_seconds histogram
sglang:inter_token_latency_seconds_bucket{engine_type="unified",le="0.02",model_name="glm"} 80.0
sglang:inter_token_latency_seconds_bucket{engine_type="unified",le="+Inf",model_name="glm"} 90.0
# TYPE sglang:queue_time_seconds histogram
sglang:queue_time_seconds_bucket{engine_type="unified",le="0.1",model_name="glm"} 35.0
sglang:queue_time_seconds_bucket{engine_type="unified",le="+Inf",model_name="glm"} 40.0
sglang:queue_time_seconds_sum{engine_type="unified",model_name="glm"} 4.0
"""

#: TensorRT-LLM 1.2: the exposition shown by docs.nvidia.com/dynamo (backends, TensorRT-LLM, observability), and names
#: of NVIDIA/TensorRT-LLM, tensorrt_llm/metrics/collector.py (050f80de) with figures of ours from the third on.
TRTLLM = """\
# HELP trtllm_request_success_total Count of successfully processed requests.
# TYPE trtllm_request_success_total counter
trtllm_request_success_total{model_name="Qwen/Qwen3-0.6B",engine_type="trtllm",finished_reason="stop"} 150.0
trtllm_request_success_total{model_name="Qwen/Qwen3-0.6B",engine_type="trtllm",finished_reason="length"} 5.0
# HELP trtllm_time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE trtllm_time_to_first_token_seconds histogram
trtllm_time_to_first_token_seconds_bucket{le="0.05",model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 12.0
trtllm_time_to_first_token_seconds_bucket{le="+Inf",model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 150.0
trtllm_time_to_first_token_seconds_sum{model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 8.75
# TYPE trtllm_e2e_request_latency_seconds histogram
trtllm_e2e_request_latency_seconds_bucket{le="0.5",model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 25.0
trtllm_e2e_request_latency_seconds_bucket{le="+Inf",model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 155.0
trtllm_e2e_request_latency_seconds_sum{model_name="Qwen/Qwen3-0.6B",engine_type="trtllm"} 300.0
# TYPE trtllm_request_error_total counter
trtllm_request_error_total{engine_type="trtllm",http_code="400",model_name="Qwen/Qwen3-0.6B"} 4.0
trtllm_request_error_total{engine_type="trtllm",http_code="500",model_name="Qwen/Qwen3-0.6B"} 3.0
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 6.0
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 2.0
# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 0.62
# TYPE trtllm_kv_cache_hit_rate gauge
trtllm_kv_cache_hit_rate{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 0.38
# TYPE trtllm_kv_cache_reused_blocks_total counter
trtllm_kv_cache_reused_blocks_total{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 38.0
# TYPE trtllm_kv_cache_missed_blocks_total counter
trtllm_kv_cache_missed_blocks_total{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 62.0
# TYPE trtllm_generation_tokens_total counter
trtllm_generation_tokens_total{engine_type="trtllm",model_name="Qwen/Qwen3-0.6B"} 9000.0
"""

#: Triton 23.11 with tensorrtllm_backend 0.7 (triton-inference-server/tensorrtllm_backend, README, Triton Metrics).
TRITON_TRTLLM = """\
# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 0
# HELP nv_trt_llm_kv_cache_block_metrics TRT LLM KV cache block metrics
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 1
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="tensorrt_llm",version="1"} 6239
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6239
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="tensorrt_llm",version="1"} 0
"""

#: KServe 0.10's Python server (kserve/kserve, qpext/cmd/qpext/main_test.go, the page that its exporter is tested on).
KSERVE_010 = """\
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.67106640931e+09
# HELP request_preprocess_seconds pre-process request latency
# TYPE request_preprocess_seconds histogram
request_preprocess_seconds_bucket{le="0.005",model_name="custom-server-test"} 3.0
request_preprocess_seconds_bucket{le="+Inf",model_name="custom-server-test"} 3.0
request_preprocess_seconds_count{model_name="custom-server-test"} 3.0
request_preprocess_seconds_sum{model_name="custom-server-test"} 0.00016299448907375336
# HELP request_predict_seconds predict request latency
# TYPE request_predict_seconds histogram
request_predict_seconds_bucket{le="0.005",model_name="custom-server-test"} 0.0
request_predict_seconds_bucket{le="1.0",model_name="custom-server-test"} 0.0
request_predict_seconds_bucket{le="2.5",model_name="custom-server-test"} 3.0
request_predict_seconds_bucket{le="10.0",model_name="custom-server-test"} 3.0
request_predict_seconds_bucket{le="+Inf",model_name="custom-server-test"} 3.0
request_predict_seconds_count{model_name="custom-server-test"} 3.0
request_predict_seconds_sum{model_name="custom-server-test"} 6.006712835282087
# HELP request_predict_seconds_created predict request latency
# TYPE request_predict_seconds_created gauge
request_predict_seconds_created{model_name="custom-server-test"} 1.6710664789786139e+09
"""

#: OpenTelemetry's semantic conventions for HTTP servers (1.23 and later) as its Prometheus exporter names them.
OTEL = """\
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="200",http_route="/predict",le="0.1"} 7
http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="200",http_route="/predict",le="+Inf"} 9
http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="200",http_route="/predict"} 9
http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="503",http_route="/predict",le="0.1"} 1
http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="503",http_route="/predict",le="+Inf"} 1
http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="503",http_route="/predict"} 1
http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/health"} 70
"""  # noqa: E501 - lines as they come
#: The same conventions before 1.23: milliseconds.
OTEL_OLD = """\
# TYPE http_server_duration_milliseconds histogram
http_server_duration_milliseconds_bucket{http_method="POST",http_status_code="200",le="250"} 7
http_server_duration_milliseconds_bucket{http_method="POST",http_status_code="200",le="+Inf"} 9
http_server_duration_milliseconds_sum{http_method="POST",http_status_code="200"} 1800
http_server_duration_milliseconds_count{http_method="POST",http_status_code="200"} 9
"""

#: Istio 1.4's proxy at the pod of ratings (openrca/orca issue 65: labels and the line of 10000 as there, others cut
#: alike) with what that pod asks of others itself; Envoy's own numbers of both ways (envoyproxy/envoy issue 10073).
ISTIO = """\
# TYPE istio_requests_total counter
istio_requests_total{response_code="200",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1",destination_service="ratings.default.svc.cluster.local",response_flags="-"} 6
istio_requests_total{response_code="503",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1",destination_service="ratings.default.svc.cluster.local",response_flags="UF"} 1
istio_requests_total{response_code="200",reporter="source",source_workload="ratings-v1",destination_workload="db",destination_service="db.default.svc.cluster.local",response_flags="-"} 900
# TYPE istio_request_duration_milliseconds histogram
istio_request_duration_milliseconds_bucket{response_code="200",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1",le="5"} 2
istio_request_duration_milliseconds_bucket{response_code="200",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1",le="10000"} 7
istio_request_duration_milliseconds_bucket{response_code="200",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1",le="+Inf"} 7
istio_request_duration_milliseconds_sum{response_code="200",reporter="destination",source_workload="reviews-v2",destination_workload="ratings-v1"} 350
istio_request_duration_milliseconds_bucket{response_code="200",reporter="source",source_workload="ratings-v1",destination_workload="db",le="5"} 900
istio_request_duration_milliseconds_bucket{response_code="200",reporter="source",source_workload="ratings-v1",destination_workload="db",le="+Inf"} 900
"""  # noqa: E501 - lines as they come
ENVOY = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="inbound|8000||"} 9
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="inbound|8000||"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="outbound|15004||istio-telemetry.istio-system.svc.cluster.local"} 68
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="inbound|8000||",le="0.5"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="inbound|8000||",le="25"} 8
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="inbound|8000||",le="+Inf"} 10
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="inbound|8000||"} 190
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|15004||istio-telemetry.istio-system.svc.cluster.local",le="5"} 61
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|15004||istio-telemetry.istio-system.svc.cluster.local",le="+Inf"} 68
"""  # noqa: E501 - lines as they come

#: Triton 2.0's answer to GET v2/models/stats (triton-inference-server/server, pull request 1530).
TRITON_STATS = b"""{"model_stats": [{"name": "simple", "version": "1", "last_inference": 1590094368740,
"inference_count": 4, "execution_count": 4, "inference_stats": {"success": {"count": 4, "ns": 41781417847706535},
"fail": {"count": 0, "ns": 0}, "queue": {"count": 4, "ns": 539764}, "compute_input": {"count": 4, "ns": 579680},
"compute_infer": {"count": 4, "ns": 13285528}, "compute_output": {"count": 4, "ns": 749337}},
"batch_stats": [{"batch_size": 1, "compute_input": {"count": 4, "ns": 579680}}]}]}"""
#: The same with what later servers say of their response cache (docs/protocol/extension_statistics.md; our figures).
TRITON_STATS_CACHED = (
    TRITON_STATS.replace(b'"fail": {"count": 0', b'"fail": {"count": 3')
    .replace(b'"success": {"count": 4', b'"success": {"count": 10')
    .replace(b'}},\n"batch', b'}, "cache_hit": {"count": 6, "ns": 9}, "cache_miss": {"count": 4, "ns": 9}},\n"batch')
)  # fmt: skip

#: ingress-nginx 1.8 (kubernetes/ingress-nginx issue 10464: labels as there, names and lines cut), with the requests
#: that no backend took.
NGINX = """\
# TYPE nginx_ingress_controller_request_duration_seconds histogram
nginx_ingress_controller_request_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="308",le="0.01"} 2
nginx_ingress_controller_request_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="308",le="+Inf"} 2
nginx_ingress_controller_request_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="200",le="0.01"} 1
nginx_ingress_controller_request_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="200",le="+Inf"} 8
nginx_ingress_controller_request_duration_seconds_sum{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="200"} 4
nginx_ingress_controller_request_duration_seconds_count{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="shop",method="GET",namespace="default",path="/",service="ticketing",status="200"} 8
nginx_ingress_controller_request_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="default",controller_pod="c-zt49h",host="_",ingress="",method="GET",namespace="",path="",service="",status="404",le="+Inf"} 70
"""  # noqa: E501 - lines as they come
#: Envoy 1.40.0 with the clusters that Envoy Gateway 1.9.1 makes (its internal/xds/translator/testdata/out/xds-ir,
#: merge-backends-selector-mixed-match.clusters.yaml: a route's own, and a Service's that routes share) and the way to
#: its statistics of that gateway's bootstrap, taken by us with endpoints of ours; lines and bounds cut.
ENVOY_GATEWAY = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/default/http-route-1/rule/1"} 7
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="prometheus_stats"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="service/default/service-selected/8080/http"} 25
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="service/default/service-selected/8080/http"} 2
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/default/http-route-1/rule/1",le="25"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/default/http-route-1/rule/1",le="50"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/default/http-route-1/rule/1",le="100"} 7
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/default/http-route-1/rule/1",le="250"} 7
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/default/http-route-1/rule/1",le="+Inf"} 7
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="httproute/default/http-route-1/rule/1"} 422.4692719364335289355949498713
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="httproute/default/http-route-1/rule/1"} 7
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prometheus_stats",le="25"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prometheus_stats",le="50"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prometheus_stats",le="100"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prometheus_stats",le="250"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="prometheus_stats",le="+Inf"} 1
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="prometheus_stats"} 12.48000000000000042632564145606
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="prometheus_stats"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service/default/service-selected/8080/http",le="25"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service/default/service-selected/8080/http",le="50"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service/default/service-selected/8080/http",le="100"} 21
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service/default/service-selected/8080/http",le="250"} 27
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service/default/service-selected/8080/http",le="+Inf"} 27
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="service/default/service-selected/8080/http"} 2313.574682048727026995038613677
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="service/default/service-selected/8080/http"} 27
"""  # noqa: E501 - lines as they come
#: Contour 1.33.8 on a Kubernetes 1.37, with Envoy 1.40.0 started on the configuration that it writes, taken by us: two
#: Services behind Ingresses, of which one has names so long that Contour cuts its cluster's; lines and bounds cut.
CONTOUR = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="projectcontour_contour_38229"} 7
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="projectcontour_contour_38229"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="projectcontour_envoy-admin_9001"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80"} 5
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="shop_recommender_80"} 40
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="shop_recommender_80"} 4
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="projectcontour_envoy-admin_9001",le="25"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="projectcontour_envoy-admin_9001",le="50"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="projectcontour_envoy-admin_9001",le="100"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="projectcontour_envoy-admin_9001",le="250"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="projectcontour_envoy-admin_9001",le="+Inf"} 1
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="projectcontour_envoy-admin_9001"} 4.0493827160493829353526962222531
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="projectcontour_envoy-admin_9001"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80",le="25"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80",le="50"} 5
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80",le="100"} 5
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80",le="250"} 5
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80",le="+Inf"} 5
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80"} 183.0270232904704243992455303669
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="recommendations-for-returning-customers-in-western-europe-prod_ranking-of-candidates-by-a-model-of-two-towers-second-generatio_80"} 5
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop_recommender_80",le="25"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop_recommender_80",le="50"} 31
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop_recommender_80",le="100"} 42
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop_recommender_80",le="250"} 44
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop_recommender_80",le="+Inf"} 44
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="shop_recommender_80"} 2666.0380449114218208706006407738
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="shop_recommender_80"} 44
"""  # noqa: E501 - lines as they come
