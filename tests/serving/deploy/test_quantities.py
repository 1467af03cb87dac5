from __future__ import annotations

import pytest

from serving.deploy.quantities import cpu_quantity, mebibytes


@pytest.mark.parametrize(("cpus", "text"), [(2.0, "2"), (0.5, "500m"), (1.25, "1250m")])
def test_cpus(cpus: float, text: str) -> None:
    assert cpu_quantity(cpus) == text


@pytest.mark.parametrize(
    ("quantity", "number"), [("512Mi", 512), ("2Gi", 2048), ("1.5Gi", 1536), ("1Ti", 1048576)]
)
def test_mebibytes(quantity: str, number: int) -> None:
    assert mebibytes(quantity) == number
