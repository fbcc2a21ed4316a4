"""Keep the hashes of this machine's traces, and the values, that are not kept yet."""

import json

import torch

from dreamgym import games
from dreamgym.checkpoint import load_world, save_tensors
from tests import golden


def main() -> None:
    torch.set_num_threads(1)
    kept = json.loads(golden.HASHES.read_text()) if golden.HASHES.exists() else {}
    found: dict[str, str] = {}
    for task in games.GAMES.values():
        for form in golden.FORMS:
            for precision in golden.PRECISIONS:
                trace = golden.alone(task, form, precision)
                found |= {f"{task.name} {form} {precision} {k}": v for k, v in trace.items()}
        found |= golden.games(task)
        path = golden.FOLDER / f"{task.name}.safetensors"
        if not path.exists():
            save_tensors(path, golden.values(task, load_world(task.name)))
    known = golden.known()
    if not found.keys() - known.keys():
        raise SystemExit(f"the traces of {golden.machine()} are kept: they do not change")
    golden.HASHES.write_text(json.dumps(kept | {golden.machine(): found | known}, indent=1) + "\n")
    print(f"kept {len(found.keys() - known.keys())} traces of {golden.machine()}")


if __name__ == "__main__":
    main()
