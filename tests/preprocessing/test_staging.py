import pytest

from preprocessing import storage
from preprocessing.beam_runner import worker_folder
from tests.preprocessing import shared_file_system


@pytest.fixture
def step(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path / "store"))
    folder = tmp_path / "work" / ".examples.partial"
    folder.mkdir(parents=True)
    return folder


def write(folder, name):
    with storage.create_bytes(storage.join(folder, name)) as file:
        file.write(name.encode())


def test_workers_that_see_the_step_write_into_it(step):
    with worker_folder(step, None) as folder:
        assert folder == str(step)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", ["bucket", "bucket[1]"])
def test_staged_files_are_copied_and_removed(step, tmp_path, local, name):
    staging = str(tmp_path / "store" / name) if local else f"shared://{name}"
    with worker_folder(step, staging) as folder:
        assert folder.startswith(staging)
        write(folder, "one")
        write(folder, "ctr/train/two")
    assert (step / "one").read_text() == "one"
    assert (step / "ctr" / "train" / "two").read_text() == "ctr/train/two"
    assert storage.files_below(staging) == []


def test_a_failed_step_copies_nothing(step):
    with pytest.raises(RuntimeError), worker_folder(step, "shared://bucket") as folder:
        write(folder, "one")
        raise RuntimeError
    assert list(step.iterdir()) == []
    assert storage.files_below("shared://bucket") == []


def test_what_a_killed_run_left_is_removed(step):
    with worker_folder(step, "shared://bucket") as folder:
        pass
    write(folder, "left over")
    with worker_folder(step, "shared://bucket") as again:
        assert again == folder
        assert storage.files_below(folder) == []
