"""Kubernetes quantities."""

from __future__ import annotations

_MEBIBYTES = {"Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}


def cpu_quantity(cpus: float) -> str:
    """CPUs as Kubernetes writes them: "2", "500m"."""
    return f"{cpus:g}" if cpus == int(cpus) else f"{round(cpus * 1000)}m"


def mebibytes(quantity: str) -> int:
    """Whole mebibytes of a quantity such as "1.5Gi"."""
    return int(float(quantity[:-2]) * _MEBIBYTES[quantity[-2:]])
