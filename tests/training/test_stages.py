"""Every stage by its command, with a budget of seconds, from nothing to a score."""

import json

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_world
from dreamgym.cli import main
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.mdn_rnn import MemoryConfig
from dreamgym.models.standard import Standard, StandardConfig
from dreamgym.training import memory, trainer, vision
from dreamgym.training.data import latents
from dreamgym.training.data.episodes import Frames, episode_paths


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    assert main(["collect", "doom", "--episodes", "4", "--out", str(path), "--processes", "2"]) == 0
    return path


def small(steps):
    return memory.Args(steps=steps, batch=4, length=8, held_out=4)


def test_the_whole_path_runs_by_command(data, tmp_path, capsys):
    run = str(tmp_path)
    where = ["--data", str(data), "--out", run]
    assert main(["vision", "doom", *where, "--frames", "384"]) == 0
    assert main(["memory", "doom", *where, "--steps", "2"]) == 0
    world = f"{run}/world"
    load_world(world)
    assert main(["examine", "doom", "--out", run]) == 0
    assert (tmp_path / "reconstructions.png").exists()
    report = json.loads((tmp_path / "examination.json").read_text())
    assert {"vision", "memory", "plays"} == report.keys()
    capsys.readouterr()
    assert main(["evaluate", "doom", "--world", world, "--policy", "random", "--env", "dream",
                 "--episodes", "20", "--temperature", "1.0", "1.3"]) == 0  # fmt: skip
    assert "95 %" in capsys.readouterr().out


def test_v_resumes_bit_for_bit(data, tmp_path):
    args = vision.Args(frames=128 * 4)
    whole = vision.train([data], tmp_path / "whole", args, progress=False)
    frames = Frames.read

    def dies(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return frames(self, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Frames, "read", dies)
        patch.setattr(trainer, "SAVE_EVERY", 0.0)
        vision.train([data], tmp_path / "parts", args, progress=False)
    parts = vision.train([data], tmp_path / "parts", args, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_m_resumes_bit_for_bit_and_learns(data, tmp_path):
    v = vision.train([data], tmp_path / "v", vision.Args(frames=256), progress=False)
    seen = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    config = MemoryConfig(hidden=16)
    whole = memory.train(seen, tmp_path / "whole", small(6), config, progress=False)
    unroll, calls = memory.MDNRNN.unroll, []

    def dies(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return unroll(self, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(memory.MDNRNN, "unroll", dies)
        patch.setattr(trainer, "SAVE_EVERY", 0.0)
        memory.train(seen, tmp_path / "parts", small(6), config, progress=False)
    parts = memory.train(seen, tmp_path / "parts", small(6), config, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_m_of_another_config_is_not_gone_on_with(data, tmp_path):
    v = vision.train([data], tmp_path, vision.Args(frames=128), progress=False)
    seen = latents.encode(DOOM, [data], tmp_path, v, progress=False)
    memory.train(seen, tmp_path, small(2), MemoryConfig(hidden=16), progress=False)
    with pytest.raises(ValueError, match=r"was begun with .*outcome=2.0.*, not .*outcome=3.0"):
        memory.train(seen, tmp_path, small(2), MemoryConfig(hidden=16, outcome=3.0), progress=False)


def test_the_size_of_z_tells_latents_of_numbers_apart():
    """Which other dreamgyms chose otherwise."""
    v = Standard(StandardConfig(4))
    ours = latents.fingerprint(v)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StandardConfig, "z_size", 4)
        assert latents.fingerprint(v) != ours


def test_latents_keep_the_fatal_action_and_every_hit(data, tmp_path):
    v = vision.train([data], tmp_path, vision.Args(frames=128), progress=False)
    seen = latents.encode(DOOM, [data], tmp_path, v, progress=False)
    ends = torch.cumsum(seen.lengths, 0) - 1
    hit, death = seen.outcomes.T
    assert death[ends].all() and death.sum() == len(seen.lengths)
    assert hit[ends].all()
    assert hit.sum() >= len(seen.lengths)


def test_slabs_show_every_frame_of_every_episode_once(data, tmp_path):
    v = vision.train([data], tmp_path, vision.Args(frames=128), progress=False)
    seen = latents.encode(DOOM, [data], tmp_path, v, progress=False)
    episodes = np.arange(len(seen.lengths))
    batches = memory.Batches(seen, episodes, memory.Args(batch=2, length=16))
    shown: list[int] = []
    begun = 0
    while True:
        at, end, fresh = batches.skip()
        begun += int(fresh.sum())
        if begun > len(episodes):  # the second permutation has begun
            break
        for first, last in zip(at, end, strict=True):
            shown += range(first, min(first + 16, last))
    assert len(shown) == len(set(shown))
    ended = set(shown) & set((seen.starts + seen.lengths - 1).tolist())
    assert len(ended) >= len(episodes) - 2  # two rows may be in the middle of theirs


def test_a_slab_knows_the_fatal_step_but_nothing_after_it(data, tmp_path):
    v = vision.train([data], tmp_path, vision.Args(frames=128), progress=False)
    seen = latents.encode(DOOM, [data], tmp_path, v, progress=False)
    length = int(seen.lengths[0])
    index = torch.arange(length - 4, length + 3)[None]
    real = index < length
    batch = memory.slab(seen, index.clamp_max(length - 1), real)
    assert batch.known[0, :, 0].tolist() == [1, 1, 1, 0, 0, 0]  # frames that follow
    assert batch.known[0, :, 1].tolist() == [1, 1, 1, 1, 0, 0]  # outcomes
    assert batch.outcomes[0, 3].tolist() == [1, 1]  # hit and death


def test_latents_of_another_v_are_made_again(data, tmp_path):
    one = vision.train([data], tmp_path / "a", vision.Args(frames=128), progress=False)
    two = vision.train([data], tmp_path / "b", vision.Args(frames=128, seed=1), progress=False)
    first = latents.encode(DOOM, [data], tmp_path, one, progress=False)
    second = latents.encode(DOOM, [data], tmp_path, two, progress=False)
    assert first.vision != second.vision and not torch.equal(first.mean, second.mean)


def test_two_folders_make_one_data_set(data, tmp_path):
    more = tmp_path / "more"
    words = ["--episodes", "2", "--seed", "7", "--out", str(more), "--processes", "1"]
    assert main(["collect", "doom", *words]) == 0
    v = vision.train([data, more], tmp_path / "v", vision.Args(frames=128), progress=False)
    alone = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    both = latents.encode(DOOM, [data, more], tmp_path / "v", v, progress=False)
    assert both.source.tolist() == [0, 0, 0, 0, 1, 1]
    assert torch.equal(both.lengths[:4], alone.lengths)
    first = int(alone.lengths.sum())
    assert torch.allclose(both.mean[:first], alone.mean, atol=1e-2)
    memory.train(alone, tmp_path / "m", small(1), MemoryConfig(hidden=16), progress=False)
    with pytest.raises(ValueError, match="begun with other inputs: the content of its latents"):
        memory.train(both, tmp_path / "m", small(1), MemoryConfig(hidden=16), progress=False)


def test_a_folder_without_episodes_is_named(tmp_path, capsys):
    assert main(["vision", "doom", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "no episodes in" in capsys.readouterr().err


def test_the_window_shows_every_frame_about_once_a_pass(data):
    paths = episode_paths(data)
    frames = Frames(paths, batch=32, seed=0, window=2)
    total = sum(frames.lengths)
    batches = total // 32
    seen = {frames.read(i)[j].tobytes() for i in range(batches) for j in range(32)}
    assert 0.4 * total < len(seen) <= total  # drawn with replacement: 1 - 1/e of them
