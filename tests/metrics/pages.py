"""Pages as runtimes write them, composed here from names and labels that their makers document; figures are ours.

Each says whose names and which generation it has; none is a recording.
"""

from __future__ import annotations

from collections.abc import Mapping

#: vllm-project/vllm, vllm/v1/metrics/loggers.py as of 0.13 (V1 engine; renames done).
VLLM_NEW = """
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.9
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 250.0
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m"} 4.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 5000.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 800.0
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 90.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 5.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 2.0
vllm:request_success_total{engine="0",finished_reason="error",model_name="m"} 1.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="m"} 50.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 97.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 9.5
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.05",model_name="m"} 700.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 703.0
vllm:inter_token_latency_seconds_sum{engine="0",model_name="m"} 21.0
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="m"} 10.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="2.5",model_name="m"} 90.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 97.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="m"} 150.0
# TYPE http_requests_total counter
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 95.0
http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 6.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 3.0
http_requests_total{handler="/metrics",method="GET",status="2xx"} 400.0
process_start_time_seconds 1.8e+09
process_resident_memory_bytes 4.0e+09
"""

#: The names that the new ones replaced (vllm docs/design/metrics.md; 0.8 and the V0 engine), newest to oldest.
VLLM_OLD_NAMES = {
    "vllm:inter_token_latency_seconds": "vllm:time_per_output_token_seconds",
    "vllm:kv_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "vllm:prefix_cache_queries": "vllm:gpu_prefix_cache_queries",
    "vllm:prefix_cache_hits": "vllm:gpu_prefix_cache_hits",
}

#: docs.nvidia.com/nim/large-language-models/1.*/observability.html (names without a prefix).
NIM_1 = """
# TYPE gpu_cache_usage_perc gauge
gpu_cache_usage_perc{model_name="m"} 0.25
# TYPE num_requests_running gauge
num_requests_running{model_name="m"} 4.0
# TYPE num_requests_waiting gauge
num_requests_waiting{model_name="m"} 1.0
# TYPE num_request_max gauge
num_request_max{model_name="m"} 256.0
# TYPE prompt_tokens_total counter
prompt_tokens_total{model_name="m"} 300.0
# TYPE generation_tokens_total counter
generation_tokens_total{model_name="m"} 120.0
# TYPE request_success_total counter
request_success_total{model_name="m"} 40.0
# TYPE request_failure_total counter
request_failure_total{model_name="m"} 2.0
# TYPE time_to_first_token_seconds histogram
time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 30.0
time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 40.0
# TYPE time_per_output_token_seconds histogram
time_per_output_token_seconds_bucket{le="0.05",model_name="m"} 100.0
time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 120.0
# TYPE e2e_request_latency_seconds histogram
e2e_request_latency_seconds_bucket{le="1.0",model_name="m"} 20.0
e2e_request_latency_seconds_bucket{le="+Inf",model_name="m"} 40.0
# TYPE gpu_utilization gauge
gpu_utilization{gpu="0"} 0.4
"""

#: triton-inference-server/server docs/user_guide/metrics.md: what is there without any flag.
TRITON = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="a",version="1"} 100.0
nv_inference_request_success{model="b",version="1"} 50.0
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="a",reason="REJECTED",version="1"} 3.0
nv_inference_request_failure{model="a",reason="CANCELED",version="1"} 2.0
nv_inference_request_failure{model="a",reason="BACKEND",version="1"} 1.0
nv_inference_request_failure{model="a",reason="OTHER",version="1"} 1.0
# TYPE nv_inference_count counter
nv_inference_count{model="a",version="1"} 400.0
nv_inference_count{model="b",version="1"} 50.0
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="a",version="1"} 100.0
nv_inference_exec_count{model="b",version="1"} 50.0
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{model="a",version="1"} 2000000.0
nv_inference_request_duration_us{model="b",version="1"} 1000000.0
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="a",version="1"} 300000.0
# TYPE nv_inference_compute_input_duration_us counter
nv_inference_compute_input_duration_us{model="a",version="1"} 100000.0
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="a",version="1"} 1300000.0
# TYPE nv_inference_compute_output_duration_us counter
nv_inference_compute_output_duration_us{model="a",version="1"} 100000.0
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="a",version="1"} 6.0
# TYPE nv_cache_num_hits_per_model counter
nv_cache_num_hits_per_model{model="a",version="1"} 30.0
# TYPE nv_cache_num_misses_per_model counter
nv_cache_num_misses_per_model{model="a",version="1"} 70.0
"""
#: The same document: with ``--metrics-config histogram_latencies=true`` (its default buckets, in ms).
TRITON_HISTOGRAM = """
# TYPE nv_inference_first_response_histogram_ms histogram
nv_inference_first_response_histogram_ms_bucket{le="100",model="a",version="1"} 80.0
nv_inference_first_response_histogram_ms_bucket{le="500",model="a",version="1"} 95.0
nv_inference_first_response_histogram_ms_bucket{le="2000",model="a",version="1"} 100.0
nv_inference_first_response_histogram_ms_bucket{le="5000",model="a",version="1"} 100.0
nv_inference_first_response_histogram_ms_bucket{le="+Inf",model="a",version="1"} 100.0
nv_inference_first_response_histogram_ms_sum{model="a",version="1"} 9000.0
"""
#: The same document: with ``--metrics-config summary_latencies=true``.
TRITON_SUMMARY = """
# TYPE nv_inference_request_summary_us summary
nv_inference_request_summary_us{model="a",version="1",quantile="0.5"} 900.0
nv_inference_request_summary_us{model="a",version="1",quantile="0.99"} 4000.0
nv_inference_request_summary_us_sum{model="a",version="1"} 2000000.0
nv_inference_request_summary_us_count{model="a",version="1"} 100.0
"""

#: prometheus-fastapi-instrumentator, default metrics (its README).
FASTAPI = """
# TYPE http_requests_total counter
http_requests_total{handler="/predict",method="POST",status="2xx"} 20.0
http_requests_total{handler="/predict",method="POST",status="5xx"} 2.0
http_requests_total{handler="/health",method="GET",status="2xx"} 900.0
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{handler="/predict",le="0.1",method="POST"} 15.0
http_request_duration_seconds_bucket{handler="/predict",le="+Inf",method="POST"} 22.0
http_request_duration_seconds_sum{handler="/predict",method="POST"} 3.0
http_request_duration_seconds_bucket{handler="/health",le="0.1",method="GET"} 900.0
http_request_duration_seconds_bucket{handler="/health",le="+Inf",method="GET"} 900.0
"""

#: kserve/kserve, python/kserve/kserve/metrics.py.
KSERVE = """
# TYPE request_predict_seconds histogram
request_predict_seconds_bucket{le="0.1",model_name="m"} 5.0
request_predict_seconds_bucket{le="+Inf",model_name="m"} 8.0
request_predict_seconds_sum{model_name="m"} 1.5
"""


def renamed(page: str, names: Mapping[str, str]) -> bytes:
    """The page with other names."""
    for new, old in names.items():
        page = page.replace(new, old)
    return page.encode()
