"""A library's own tests, with our id in CartPole's place."""

import shutil
from pathlib import Path

from tests.clients.page import typed_shell

GRAVITY = "reads or sets CartPole's `gravity`"
SHAPE = "says that an observation is four numbers"
LENGTH = "counts games that a random CartPole ends after about 20 steps"
MUJOCO = "needs MuJoCo, for an environment that is not CartPole"
_SCREEN = "tests/wrappers/vector/test_human_rendering.py::test_num_envs_screen_size"
_SAME = "tests/wrappers/vector/test_vector_wrappers.py::test_vector_wrapper_equivalence"
LEFT_OUT = {
    "tests/vector/test_sync_vector_env.py::test_call_sync_vector_env": GRAVITY,
    "tests/vector/test_async_vector_env.py::test_call_async_vector_env": GRAVITY,
    "tests/vector/test_vector_wrapper.py::test_vector_env_wrapper_attributes": GRAVITY,
    "tests/wrappers/test_frame_stack_observation.py::test_padding_type": SHAPE,
    "tests/wrappers/vector/test_vectorize_transform.py::test_vectorize_dict_to_box_obs": SHAPE,
    **{
        f"{_SAME}[DreamDoom-v0-RescaleObservation-kwargs5-{lanes}-AutoresetMode.{mode}]": SHAPE
        for lanes in (1, 3)
        for mode in ("NEXT_STEP", "SAME_STEP")
    },
    **{
        f"tests/wrappers/{folder}test_record_video.py::test_{test}": LENGTH
        for folder in ("", "vector/")
        for test in ("video_folder_and_filenames", "both_episodic_and_step_trigger")
    },
    **{
        f"{_SCREEN}[{size}-{lanes}-Ant-v4]": MUJOCO
        for size in ("None", "screen_size1", "screen_size2", "screen_size3")
        for lanes in (1, 3, 9)
    },
    "tests/wrappers/test_time_limit.py::test_max_episode_steps": "says that the limit is 500 steps",
    "tests/envs/test_rendering.py::test_pygame_selective_init": (
        "asks that a picture comes of pygame: ours comes of V"
    ),
    "tests/vector/test_async_vector_env.py::test_reset_async_vector_env": (
        "walks the keys of a reset's infos as if they were infos: CartPole's has none"
    ),
    "tests/wrappers/vector/test_human_rendering.py::test_render_modes": (
        "asks make_vec for `rgb_array_list`, which a batch of dreams refuses"
    ),
}
"""The tests that our ids do not pass, and why."""


def passes(source: Path, folder: Path, tests: str, seconds: float) -> str:
    """Run tests of `source`, copied to `folder` with our id for CartPole's; return the report."""
    shutil.copytree(source / "tests", folder / "tests")
    shutil.copy(source / "pyproject.toml", folder)
    for file in (folder / "tests").rglob("*.py"):
        code = file.read_text().replace("CartPole-v1", "DreamDoom-v0")
        # Gymnasium's tests of rendering walk its own environments: let them walk ours.
        file.write_text(code.replace('"gymnasium.envs."', '"dreamgym."'))
    pytest = "python -m pytest -p dreamgym -p no:cacheprovider --verbose"  # -p imports: the ids
    pytest += "".join(f" --deselect '{test}'" for test in LEFT_OUT)
    return typed_shell(
        f"{pytest} {tests}", folder, seconds, OMP_NUM_THREADS="1", SDL_VIDEODRIVER="dummy"
    )
