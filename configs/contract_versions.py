"""Contract numbers: whether finished work is still what this code would make of the same inputs.

Manifests and run folders hold them as `code_version`. Work of another number is made anew; every
other change of the code, be it a comment, a name or a faster way to the same result, leaves
finished work as it is.
"""

from __future__ import annotations

CONTRACTS = {
    "group": 1,
    "prompts": 2,
    "link": 4,
    "encode": 1,
    "examples": 2,
    "training": 1,
    "export": 1,
}
"""Kind of artifact -> its number. Raise it when the same inputs and settings give another result.

`tests/test_contract_versions.py` fails where results change and the number does not.
"""


def contract_version(artifact: str) -> str:
    """Name and number of an artifact's contract, such as "examples 1".

    Args:
      artifact: a key of `CONTRACTS`.
    """
    return f"{artifact} {CONTRACTS[artifact]}"
