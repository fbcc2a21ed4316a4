"""The command `play`: a dream, the real game, or both side by side in a window, driven by keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import check_writable
from dreamgym.games import Game
from dreamgym.twin import Twin
from dreamgym.world import State, World

from .flags import Name, Whole, game_for, world_for
from .measure import film
from .play import policies
from .play.games import check_shown
from .splits import DEMO

SHOWS = ("dream", "real", "both")
YOU = "you"
ZOOM = 8
"""Magnification: screen pixels for each pixel of a frame, per axis."""
LINE = 22
"""Height of a line of text, in pixels."""
HEAD = 3
"""Lines of text above the pictures."""
WAIT = 1.2
"""Seconds that the last picture of a game stays before the next begins."""
RAMP = 0.1
"""By how much a pressed key moves an action that is not on or off, in a step. Our choice."""
DECAY = 0.9
"""What is left of such an action in each step after its key is released. Our choice."""
WARMER = 0.05
"""Step of the temperature."""
UNSEEN = "offscreen"
"""The driver that SDL falls back to without a display: it draws a window that nobody sees."""
HELP = (
    "arrows drive, m driver, d dream / real / both, l let go of reality, space pause, . step",
    "+ - temperature, n next seed, return same seed, g record a GIF, q quit",
)


class Dream:
    """One dream, step by step; the same as that of `DreamEnv` with this seed."""

    state: State

    def __init__(self, world: World, temperature: float):
        self.world, self.temperature = world, temperature

    def begin(self, seed: int) -> None:
        """Begin at the first frame of a game."""
        self.state = self.world.start(torch.tensor([seed]))
        self.steps, self.score, self.over = 0, 0.0, False

    def enter(self, reality: Reality) -> None:
        """Go on from where a real game is now: V has seen its frame, and M remembers its steps."""
        counts = [reality.info[name] for name in self.world.rules.counts]
        self.state = reality.state.clone()
        self.state.counts = self.world.rules.begin(torch.tensor(counts[:1], dtype=torch.float32))
        self.state.counts[0, : len(counts)] = torch.tensor(counts, dtype=torch.float32)
        self.steps, self.score, self.over = reality.steps, reality.score, reality.over

    def step(self, action: np.ndarray) -> None:
        """Dream on by an action (A,)."""
        tau = torch.full((1, 1), self.temperature)
        self.state, reward, dead = self.world.step(self.state, _row(action), tau)
        self.steps += 1
        self.score += float(reward)
        self.over = bool(dead) or self.steps >= self.world.game.max_steps

    @property
    def info(self) -> dict[str, float]:
        """The counts, as in the `info` of the environment."""
        return dict(zip(self.world.rules.counts, self.state.counts[0].tolist(), strict=False))

    def picture(self) -> np.ndarray:
        """Return V's picture (64, 64, 3) uint8."""
        return self.world.decode(self.state.z)[0].numpy()


class Reality:
    """One real game, step by step, as V and M follow it."""

    def __init__(self, world: World):
        self.world, self.twin = world, Twin(world, "zhc")
        self.env: gym.Env[Any, Any] = gym.make(
            world.game.pixel_id, continuous=True, disable_env_checker=True
        ).unwrapped

    @property
    def state(self) -> State:
        return self.twin.state

    def begin(self, seed: int) -> None:
        """Begin a game."""
        self.frame, self.info = self.env.reset(seed=seed)
        self.twin.begin(self.frame[None], np.array([seed]), np.zeros(1, np.int64))
        self.steps, self.score, self.over = 0, 0.0, False

    def step(self, action: np.ndarray) -> None:
        """Play on by an action (A,)."""
        self.frame, reward, ended, cut, self.info = self.env.step(action)
        self.twin.follow(action[None], self.frame[None])
        self.steps += 1
        self.score += float(reward)
        self.over = ended or cut or self.steps >= self.world.game.max_steps

    def picture(self) -> np.ndarray:
        """Return the game's frame (64, 64, 3) uint8."""
        return np.asarray(self.frame)


@dataclass
class Hands:
    """Turns the arrow keys that are pressed into actions."""

    game: Game

    def __post_init__(self) -> None:
        self.held = np.zeros(len(self.game.low), np.float32)

    def act(self, pressed: Mapping[str, bool] | set[str]) -> np.ndarray:
        """Return the action (A,) of the next step; keys move an analog action by and by."""
        wanted = np.zeros_like(self.held)
        for key, push in self.game.keys.items():
            if key in pressed:
                wanted += np.array(push, np.float32)
        if self.game.deadband:
            self.held = wanted
        else:
            moved = self.held + RAMP * np.sign(wanted)
            self.held = np.where(wanted != 0, moved, DECAY * self.held).astype(np.float32)
        self.held = np.clip(self.held, *self.game.box)
        return self.held.copy()


class Session:
    """Who drives, what is shown, and how far the dream and the real game have come.

    Args:
        world: the world that is dreamt of.
        drivers: the files of policies by the names under which they drive.
        temperature: the dream's τ.
        seed: of the dream and of the real game.
        shows: one of `SHOWS`.
    """

    def __init__(
        self, world: World, drivers: dict[str, str], temperature: float, seed: int, shows: str
    ):
        self.world, self.files, self.seed = world, drivers, seed
        self.driver = next(iter(drivers), YOU)
        self.sides: dict[str, Dream | Reality] = {"dream": Dream(world, temperature)}
        self.hands, self.pressed = Hands(world.game), set[str]()
        self.players: dict[tuple[str, str], policies.Policy] = {}
        self.paused = False
        self.show(shows)

    @property
    def dream(self) -> Dream:
        found = self.sides["dream"]
        assert isinstance(found, Dream)
        return found

    @property
    def shown(self) -> list[str]:
        return ["dream", "real"] if self.shows == "both" else [self.shows]

    @property
    def risk(self) -> str:
        """The outcome whose chance is shown: what a careful player avoids, if there is such."""
        return self.world.rules.harm or self.world.memory.config.heads[0]

    @property
    def over(self) -> bool:
        return all(self.sides[name].over for name in self.shown)

    def show(self, shows: str) -> None:
        """Show the dream, the real game, or both, from their beginning."""
        self.shows = shows
        if "real" in self.shown and "real" not in self.sides:
            self.sides["real"] = Reality(self.world)
        self.begin(self.seed)

    def begin(self, seed: int) -> None:
        """Begin what is shown anew with a seed."""
        self.seed, self.free = seed, False
        self.action = np.zeros(len(self.world.game.low), np.float32)
        self.chances: dict[str, float] = {}
        self.players = {}
        for name in self.shown:
            self.sides[name].begin(seed)

    def drive(self, driver: str) -> None:
        """Let another driver take over: `YOU` or one of the policies."""
        self.driver = driver

    def next_driver(self) -> None:
        """Let the next of the drivers take over."""
        names = [*self.files, YOU]
        self.drive(names[(names.index(self.driver) + 1) % len(names)])

    def let_go(self) -> None:
        """Let the dream go on from where the real game is. From now on they come apart."""
        real = self.sides.get("real")
        if self.shows == "both" and isinstance(real, Reality) and not real.over:
            self.dream.enter(real)
            self.free = True

    def advance(self) -> None:
        """Let all that is shown and not over take one step.

        Where you drive, both take the same action. A policy acts by what it sees on each side.
        """
        hands = self.hands.act(self.pressed)
        for name in reversed(self.shown):  # the action that is shown is the dream's
            side = self.sides[name]
            if not side.over:
                self.action = hands if self.driver == YOU else self._chosen(name, side)
                self.chances[name] = self._chance(side)
                side.step(self.action)

    def _chosen(self, name: str, side: Dream | Reality) -> np.ndarray:
        """Return what the policy that drives does on a side."""
        key = (name, self.driver)
        if key not in self.players:
            player = policies.load(self.files[self.driver], self.world, self.world.game)
            player.begin(torch.tensor([self.seed]))
            self.players[key] = player
        player = self.players[key]
        if player.observation in ("", policies.FRAMES):
            seen = torch.from_numpy(side.picture()[None].copy())
        else:
            seen = self.world.observe(side.state, player.observation)
        return player.act(seen)[0].numpy()

    def _chance(self, side: Dream | Reality) -> float:
        """Return the chance that M gives the outcome of the next action that a player avoids."""
        odds = self.world.foretell(side.state, _row(self.action))[0]
        return float(odds[self.world.memory.config.heads.index(self.risk)])

    def pictures(self) -> list[np.ndarray]:
        """Return a picture (64, 64, 3) uint8 of each side that is shown."""
        return [self.sides[name].picture() for name in self.shown]

    def captions(self) -> list[tuple[str, str]]:
        """Return two lines of text for each side that is shown."""
        lines = []
        for name in self.shown:
            side = self.sides[name]
            counts = ", ".join(
                f"{count.replace('_', ' ')} {side.info[count]:.0f}"
                for count in self.world.rules.counts
            )
            title = name if name == "real" else f"dream τ = {self.dream.temperature:.2f}"
            title += " from reality" if name == "dream" and self.free else ""
            end = ", over" if side.over else ""
            lines.append((f"{title}: {side.steps} steps, score {side.score:.0f}{end}", counts))
        return lines

    def facts(self) -> str:
        """Return a line about the driver, the action and its risk."""
        action = ", ".join(f"{number:.1f}" for number in self.action)
        risks = " and ".join(f"{100 * self.chances.get(name, 0.0):.0f} %" for name in self.shown)
        paused = ", paused" if self.paused else ""
        return f"{self.driver}, seed {self.seed}, action {action}, {self.risk} {risks}{paused}"


def _row(action: np.ndarray) -> torch.Tensor:
    """Return an action as a batch of one."""
    return torch.from_numpy(np.asarray(action, np.float32))[None]


class Window:
    """The window: keys in, pictures out.

    Args:
        session: what is played.
        out: the GIF that `g` records.

    Raises:
        ValueError: if there is no display.
    """

    def __init__(self, session: Session, out: str | Path):
        import pygame

        self.pygame, self.session, self.out = pygame, session, out
        self.open, self.waited = True, 0
        self.recorded: list[Image.Image] | None = None
        self.unseen = 0  # steps since the film began
        self.said = ""
        try:
            pygame.display.init()
            self._fit()
            if pygame.display.get_driver() == UNSEEN:
                raise pygame.error(f"SDL found only the driver {UNSEEN!r}")
        except pygame.error as error:
            raise ValueError(
                f"no window can be opened ({error}): on a machine without a display, "
                f"`dreamgym export-web {session.world.game.name}` writes the dream as a page"
            ) from None
        pygame.display.set_caption(f"dreamgym: {session.world.game.called}")
        pygame.font.init()
        self.font = pygame.font.Font(None, LINE)
        self.clock = pygame.time.Clock()

    def _fit(self) -> None:
        """Give the window the size of what is shown."""
        width = 64 * ZOOM * len(self.session.shown)
        self.screen = self.pygame.display.set_mode(
            (width, 64 * ZOOM + (HEAD + len(HELP) + 1) * LINE)
        )

    def run(self) -> None:
        """Play until the window is closed."""
        while self.open:
            self.frame()
            self.clock.tick(self.session.world.game.fps)
        self.close()

    def frame(self) -> None:
        """Do what keys say, take one step and show it."""
        for event in self.pygame.event.get():
            if event.type == self.pygame.QUIT:
                self.open = False
            elif event.type in (self.pygame.KEYDOWN, self.pygame.KEYUP):
                self._key(event, event.type == self.pygame.KEYDOWN)
        session = self.session
        if not session.paused:
            if session.over:
                self.waited += 1
                if self.waited > WAIT * session.world.game.fps:
                    session.begin(session.seed + 1)
            else:
                self.waited = 0
                self._advance()
        self._draw()

    def close(self) -> None:
        """Close the window; a film that is being recorded is kept."""
        if self.recorded:
            self._record()
        self.pygame.display.quit()

    def _advance(self) -> None:
        self.session.advance()
        if self.recorded is not None:
            if self.unseen % film.SKIP == 0:
                self.recorded.append(film.beside(self.session.pictures()))
            self.unseen += 1

    def _key(self, event: Any, down: bool) -> None:
        """Do what a key stands for."""
        session, name = self.session, self.pygame.key.name(event.key)
        arrow = f"Arrow{name.title()}"
        if arrow in session.world.game.keys:
            (session.pressed.add if down else session.pressed.discard)(arrow)
            if down:
                session.drive(YOU)
        elif down:
            self._command(getattr(event, "unicode", "") or name, name)

    def _command(self, letter: str, name: str) -> None:
        session, dream = self.session, self.session.dream
        if letter in ("+", "=", "-"):
            warmer = -WARMER if letter == "-" else WARMER
            dream.temperature = max(0.0, round(dream.temperature + warmer, 2))
        elif name in ("q", "escape"):
            self.open = False
        elif name == "m":
            session.next_driver()
        elif name == "d":
            session.show(SHOWS[(SHOWS.index(session.shows) + 1) % len(SHOWS)])
            self._fit()
        elif name == "l":
            session.let_go()
        elif name == "space":
            session.paused = not session.paused
        elif name == ".":
            session.paused = True
            if not session.over:
                self._advance()
        elif name in ("n", "return"):
            session.begin(session.seed + (name == "n"))
        elif name == "g":
            self._record()

    def _record(self) -> None:
        """Begin a film, or end it and write the file."""
        if self.recorded is None:
            self.recorded, self.unseen, self.said = [], 0, "recording"
            return
        pictures, self.recorded = self.recorded, None
        self.said = "nothing was recorded"
        if pictures:
            film.write(pictures, self.out, film.SKIP / self.session.world.game.fps)
            self.said = f"recorded {self.out}"

    def _draw(self) -> None:
        pygame, session = self.pygame, self.session
        self.screen.fill((24, 24, 24))
        width = 64 * ZOOM
        for column, picture in enumerate(session.pictures()):
            surface = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
            scaled = pygame.transform.scale(surface, (width, width))
            self.screen.blit(scaled, (column * width, HEAD * LINE))
        for column, lines in enumerate(session.captions()):
            for row, line in enumerate(lines):
                self._write(line, column * width, row)
        self._write(f"{session.facts()} {self.said}", 0, 2)
        for row, line in enumerate(HELP):
            self._write(line, 0, width // LINE + HEAD + 1 + row)
        pygame.display.flip()

    def _write(self, text: str, x: int, row: int) -> None:
        self.screen.blit(self.font.render(text, True, (230, 230, 230)), (x + 6, row * LINE + 4))


def drivers(folder: Path, policy: str) -> dict[str, str]:
    """Return the policies that can drive: the one that is asked for, and those in the folder."""
    found = {}
    if policy:
        found[policy] = policies.find(policy, folder)
    for name, file in {"controller": "controller", "agent": "agent"}.items():
        path = folder / f"{file}.safetensors"
        if path.exists() and str(path) not in found.values():
            found[name] = str(path)
    return found


def main(
    task: Name = "",
    world: str = "",
    policy: str = "",
    temperature: float | None = None,
    seed: Whole = DEMO,
    real: bool = False,
    both: bool = False,
    out: str = "play.gif",
) -> None:
    """Play a dream, the real game, or both side by side, in a window.

    Args:
        task: The game; if left out, that of the world, or else doom.
        world: A folder, or the name of a shipped world; if left out, the game's shipped world.
        policy: `random`, `explore` or the file of a policy that drives at first, beside the
            world's controller and agent.
        temperature: Of the dream; if left out, the game's usual one.
        seed: Of the dream and of the real game.
        real: Show the real game alone.
        both: Show the dream and the real game side by side.
        out: GIF file that the key g records.
    """
    film.check_name(out)
    if real and both:
        raise ValueError("--real shows the real game alone, --both beside the dream: give one")
    task = game_for(task, world)
    folder = world_folder(world_for(task, world))
    model = load_world(folder)
    check_shown(model)
    tau, _ = parse_temperature(model.game.temperature if temperature is None else temperature)
    check_writable(out)
    shows = "both" if both else "real" if real else "dream"
    Window(Session(model, drivers(folder, policy), tau, seed, shows), out).run()
