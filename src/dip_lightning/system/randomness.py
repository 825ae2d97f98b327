"""Random numbers of a fit: for each purpose a stream of its own, which no other fit of the process draws from."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Randomness", "derived_seed", "drawn_with", "global_numbers_kept", "seed_all_else"]

_lock = threading.RLock()


def derived_seed(seed: int, purpose: str) -> int:
    """Make another seed of a seed, so that what is drawn for two purposes is independent.

    Generators that are given one seed give the same numbers, even where one draws uniform and the other normal ones:
    z and the first weights would be copies of each other.

    Args:
        seed: What the user chose.
        purpose: What is drawn, in words.

    Returns:
        63 bits of the SHA-256 digest of both.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Randomness:
    """The streams of one fit, by purpose and device; made when they are first drawn from.

    Draw in float32 and convert: then fits in different precisions see the same numbers.
    """

    def __init__(self, seed: int) -> None:
        """Set the seed that those of all streams are derived from."""
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}
        self._states: dict[str, torch.Tensor] = {}

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """Return the stream for a purpose; numbers on a device are drawn on it."""
        key = f"{purpose} on {device.type}"
        found = self._generators.get(key)
        if found is None:
            found = torch.Generator(device).manual_seed(derived_seed(self.seed, purpose))
            if key in self._states:
                found.set_state(self._states.pop(key))
            self._generators[key] = found
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return where each stream is, by its name."""
        return {**self._states, **{key: generator.get_state() for key, generator in self._generators.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put every stream where it was; those of another device begin anew."""
        self._generators, self._states = {}, dict(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Randomness":
        """Make streams that go on alike, but apart."""
        copied = Randomness(self.seed)
        copied.load_state_dict(self.state_dict())
        return copied


@contextmanager
def drawn_with(seed: int, purpose: str) -> Iterator[None]:
    """Seed the process's own numbers, which layers draw their first weights from, for as long as it takes.

    One thread at a time; whoever draws without asking here is not kept from it.
    """
    with _lock, torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(derived_seed(seed, purpose))
        yield


def seed_all_else(seed: int) -> None:
    """Seed the process's own numbers, of every device: what parts of one's own draw while fitting."""
    with _lock:
        torch.manual_seed(derived_seed(seed, "all else"))


_depth = 0
_kept: tuple[torch.Tensor, list[torch.Tensor]]


@contextmanager
def global_numbers_kept() -> Iterator[None]:
    """Leave the process's own random numbers as they were, once the last of those that run at a time has ended."""
    global _depth, _kept
    with _lock:
        if _depth == 0:
            # Asked, since it would otherwise wake every GPU of the machine.
            on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
            _kept = torch.get_rng_state(), on_gpus
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                torch.set_rng_state(_kept[0])
                if _kept[1]:
                    torch.cuda.set_rng_state_all(_kept[1])
