from __future__ import annotations

import hashlib

from preprocessing.inspection.findings import CheckedStep, Findings, check_files


def test_names_sizes_and_checksums_are_compared(tmp_path):
    contents = {"same": b"1", "sub/longer": b"22", "changed": b"3"}
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    files["gone"] = {"sha256": "", "bytes": 0}
    (tmp_path / "sub").mkdir()
    for name, content in {**contents, "sub/longer": b"222", "changed": b"4", "new": b""}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.json").write_text("{}")
    findings = Findings()
    check_files(CheckedStep(tmp_path, {"files": files}, "step", findings))
    found = {(finding.check, finding.file) for finding in findings.kept()}
    assert found == {
        ("missing_file", "step/gone"),
        ("extra_file", "step/new"),
        ("wrong_size", "step/sub/longer"),
        ("wrong_checksum", "step/changed"),
    }
