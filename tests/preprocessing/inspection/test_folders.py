from __future__ import annotations

import json

from preprocessing.inspection.inspect import view_step, view_work_directory


def test_a_step_of_text_files(tmp_path):
    files = {"prompts.jsonl": {"sha256": "", "bytes": 3}}
    manifest = {"step": "prompts", "files": files, "code_version": "v", "written": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What?", "source": "item"}\n')
    (tmp_path / "custom_ids.csv").write_text("custom_id,source,entity_id\nx,user,7\n")
    (tmp_path / "dead_letters.jsonl").write_text("")
    view = view_step(tmp_path, records=1, limit=10)
    assert view["step"] == "prompts" and view["files"] == {"prompts.jsonl": 3}
    assert view["dead_letters"] == {}
    assert view["content"]["prompts.jsonl"]["records"][0]["prompt"] == "What?"
    assert view["content"]["custom_ids.csv"]["rows_read"] == 1


def test_steps_of_a_work_directory_in_short(work):
    steps = view_work_directory(work)["steps"]
    assert steps["knowledge/item"]["encoder"] == {"kind": "toy", "dimension": 3}
    assert "settings" not in steps["examples"] and "content" not in steps["examples"]
