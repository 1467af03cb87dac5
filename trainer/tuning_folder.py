"""What the folder of a search is about, so that trials that cannot be compared do not mix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from configs.command_line import CommandError
from configs.folder_lock import LOCK_FILE
from configs.scenario import Scenario
from trainer.run_folder import training_code_version
from trainer.run_settings import training_settings
from trainer.tables import fingerprint
from trainer.tuning_space import Space

_IDENTITY_FILE = "study.json"
_OF_TRIALS = ("trial[0-9]*", ".trial[0-9]*", "study.db*")


def study_identity(scenario: Scenario, space: Space, seed: int) -> dict[str, object]:
    """Everything that two trials of a search have in common."""
    return {
        "settings": training_settings(scenario),
        "space": {key: searched.model_dump(mode="json") for key, searched in space.items()},
        "seed": seed,
        "data": fingerprint(scenario),
        "code_version": training_code_version(),
    }


def claim_folder(folder: Path, identity: Mapping[str, object], restart: bool) -> None:
    """Makes a folder that of a search, unless it is already.

    Args:
      folder: made if it does not exist.
      identity: of the search.
      restart: whether the trials of another search are removed, in place of an error.

    Raises:
      CommandError: the folder holds another search, or other files.
    """
    path = folder / _IDENTITY_FILE
    text = json.dumps(identity, indent=1, sort_keys=True, default=str)
    if not path.exists():
        _require_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
    changed = [name for name in now if before.get(name) != now[name]]
    if not changed:
        return
    if not restart:
        raise CommandError(
            f"{folder} holds a study about something else (changed: {', '.join(changed)}), whose "
            "trials cannot be compared with new ones; name another folder, or remove this one"
        )
    for pattern in _OF_TRIALS:
        for old in folder.glob(pattern):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    path.write_text(text, encoding="utf-8")


def _require_empty(folder: Path) -> None:
    there = [] if not folder.exists() else list(folder.iterdir())
    if any(path.name != LOCK_FILE for path in there):
        raise CommandError(
            f"{folder} holds other files than a study's; name another folder, or empty it"
        )
