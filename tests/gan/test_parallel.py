import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.errors import InputError, SettingsError
from sonobalance.files import read_lines
from sonobalance.gan.parallel import check_shares, train_on_devices
from sonobalance.parallel import Crew, launch
from sonobalance.state import load_state

SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from conftest import blobs, tiny
from sonobalance.gan.parallel import train_on_devices
from sonobalance.gan.train import train_gan

if __name__ == "__main__":
    torch.set_num_threads(1)
    cpu, folder = torch.device("cpu"), Path(sys.argv[2])
    settings = tiny(batch_size=8, anchor_share=0.5, precision="float32", total_kimg=0.016)
    train_gan(blobs(), settings, seed=0, folder=folder / "one", device=cpu)
    pair = settings.model_copy(update={"devices": 2})
    train_on_devices(blobs(), pair, seed=0, folder=folder / "two", device=cpu)
"""
MACHINE = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from conftest import blobs, tiny
from sonobalance.gan.parallel import train_on_devices

if __name__ == "__main__":
    torch.set_num_threads(1)
    cpu, folder = torch.device("cpu"), Path(sys.argv[2])
    settings = tiny(batch_size=8, anchor_share=0.5, precision="float32", total_kimg=0.016, nodes=2)
    train_on_devices(blobs(), settings, seed=0, folder=folder, device=cpu)
"""
QUARREL = """
import torch
from sonobalance.errors import InputError
from sonobalance.parallel import launch

def quarrel(crew, _device):
    if crew.first:  # the other waits, and never hears of it
        raise InputError("The disk is full while writing a file; free some space.")
    crew.wait()

if __name__ == "__main__":
    try:
        launch(quarrel, torch.device("cpu"), devices=2)
    except InputError as error:
        print(error)
"""


def test_shares_are_disjoint_and_complete():
    rows = torch.arange(12)
    shares = [Crew(rank, 3).share(rows) for rank in range(3)]
    assert sorted(torch.cat(shares).tolist()) == rows.tolist()
    assert torch.equal(Crew().share(rows), rows)


def test_uneven_shares_are_refused():
    check_shares(tiny(batch_size=8, anchor_share=0.5), 2)
    with pytest.raises(SettingsError, match="multiples of 3"):
        check_shares(tiny(batch_size=8, anchor_share=0.5), 3)
    with pytest.raises(SettingsError, match="1 of them anchors"):
        check_shares(tiny(batch_size=4, anchor_share=0.25), 2)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    """Two steps of each phase over gloo, with penalties and adaptive augmentation."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, timeout=500, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_state(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert one["counters"]["steps"] == two["counters"]["steps"] == 2
    assert one["counters"]["probability"] == two["counters"]["probability"]
    for name in ("generator", "encoder", "discriminators"):
        a, b = (flat(tree[name]) for tree in (one, two))
        for key, value in a.items():
            torch.testing.assert_close(b[key], value, rtol=0, atol=2e-4, msg=f"{name} {key}")
    rows = [read_lines(tmp_path / name / "stats.jsonl") for name in ("one", "two")]
    for first, second in zip(*rows, strict=True):
        assert first["step"] == second["step"]
        for key in first.keys() & {"loss_autoencoder", "loss_D1", "loss_D2", "loss_G"}:
            assert second[key] == pytest.approx(first[key], rel=1e-2, abs=1e-3), key


@pytest.mark.slow
def test_two_machines_train_together(tmp_path):
    """Two programs that share nothing but a folder and the address of the first."""
    script, folder = tmp_path / "train.py", tmp_path / "gan"
    script.write_text(MACHINE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    machines = [
        subprocess.Popen(
            [sys.executable, str(script), str(Path(__file__).parent), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "NODE_RANK": rank,
                              "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    said = [machine.communicate(timeout=500)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert load_state(folder / "checkpoint.safetensors")["counters"]["steps"] == 2
    assert (folder / "snapshot.safetensors").is_file()


def test_an_error_meant_for_the_user_arrives_as_it_is(tmp_path, monkeypatch):
    """A launcher of processes hands back what the first one returns, and wraps what one raises."""
    crew = SimpleNamespace(global_rank=0, world_size=1, device=torch.device("cpu"))
    crew.launch = lambda work: work(crew)
    monkeypatch.setattr("lightning_fabric.Fabric", lambda **_: crew)
    wrong = tiny(image_size_px=64, devices=2, batch_size=8, anchor_share=0.5)
    with pytest.raises(InputError, match="TRAIN image"):
        train_on_devices(blobs(), wrong, seed=0, folder=tmp_path, device=crew.device)


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_others_and_is_told(tmp_path):
    """Inside a job of Slurm, whose variables name one task only."""
    script = tmp_path / "quarrel.py"
    script.write_text(QUARREL)
    slurm = {"NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": "7",
             "JOB_NAME": "train", "NODELIST": "localhost", "NTASKS_PER_NODE": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {f"SLURM_{k}": v for k, v in slurm.items()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "The disk is full while writing a file; free some space.\n"


def test_more_gpus_than_there_are_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="at most 1 devices, the GPUs of this machine, but got"):
        launch(lambda _crew, _device: None, torch.device("cuda"), devices=2)


def flat(tree, key=""):
    if not isinstance(tree, dict):
        return {key: tree}
    return {k: v for name, node in tree.items() for k, v in flat(node, f"{key}.{name}").items()}
