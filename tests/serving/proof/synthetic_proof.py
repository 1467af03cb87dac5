"""A proof that nobody made, for what reads one."""

from __future__ import annotations

from typing import Any

from serving.proof.result import Proof, Quality


def proof(**changed: Any) -> Proof:
    contents: dict[str, Any] = {
        "number_format": "int8",
        "id_type": "string",
        "extent": "quick",
        "examples": 256,
        "edge_cases": ("unknown user", "empty history"),
        "bound": 0.02,
        "bound_between_loaders": 1e-6,
        "to_checkpoint": {"python": {"rank": 0.001, "regress": 0.002}, "c_api": {"rank": 0.001}},
        "between_loaders": {"c_api": {"rank": 0.0}},
        "quality": Quality("auc", 0.75, 0.7495, 8393),
        "failures": (),
        "seconds": 3.14159,
    }
    return Proof(**{**contents, **changed})
