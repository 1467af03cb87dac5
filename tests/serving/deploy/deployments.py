"""Deployments that differ in everything that changes a file."""

from __future__ import annotations

from serving.deploy.settings import Deployment

PLAIN = Deployment(model_name="movies", stable=1)

FULL = Deployment.model_validate(
    {
        "model_name": "Movies_v2",
        "name": "rank-movies",
        "stable": 3,
        "canary": 4,
        "also_loaded": [2],
        "image": "registry.example.com/tensorflow/serving",
        "tag": "2.21.0-gpu",
        "storage": {"path": "/srv/models", "claim": "rank-models", "storage_class": "fast"}
        | {"access_mode": "ReadWriteMany", "source": "s3://bucket/movies"}
        | {"source_secret": "bucket-keys", "s3_provider": "Minio"},
        "server": {"grpc_port": 9000, "rest_port": 9001, "intra_op_threads": 1},
        "batching": {"enabled": True, "max_batch_size": 64, "max_execution_batch_size": 64}
        | {"allowed_batch_sizes": [8, 64], "pad_variable_length_inputs": True},
        "resources": {"cpu": 1.5, "cpu_limit": 3, "memory": "1.5Gi"},
        "kubernetes": {"namespace": "ranking", "replicas": 3, "service_account": "reader"}
        | {"drain_seconds": 0, "components": ["gateway", "monitoring"], "gateway": "edge"}
        | {"gateway_namespace": "gateways", "gateway_hostname": "rank.example.com"},
        "autoscaling": {"enabled": False},
        "kserve": {"storage_uri": "s3://bucket/movies-4", "canary_traffic_percent": 10},
        "monitoring": {"path": "/metrics", "operator_release": "prometheus"},
        "alerts": {"failed_percent": 0.5, "p99_milliseconds": 80, "stale_days": 2},
    }
)

IN_A_BUCKET = Deployment.model_validate(
    {"model_name": "movies", "stable": 7, "storage": {"path": "gs://bucket/movies"}}
)

DIGEST = "sha256:" + "0123456789abcdef" * 4

TWO_TRACKS = Deployment.model_validate(
    {
        "model_name": "movies",
        "stable": 1,
        "image": f"tensorflow/serving@{DIGEST}",
        "storage": {"source": "oci://registry.example.com/models/movies"}
        | {"source_secret": "registry-login"},
        "kubernetes": {
            "components": ["gateway", "monitoring", "network-policy", "small-cluster"],
        },
        "canary_track": {"version": 2, "replicas": 3, "traffic_percent": 20},
    }
)

DEPLOYMENTS = {
    "plain": PLAIN,
    "full": FULL,
    "in_a_bucket": IN_A_BUCKET,
    "two_tracks": TWO_TRACKS,
}
