"""Random numbers of a fit: for each purpose a stream of its own, which no other fit of the process draws from."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = [
    "Randomness",
    "derived_seed",
    "drawn_with",
    "global_numbers_kept",
    "put_back_all_else",
    "seed_all_else",
]

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


class _Drawn(TorchFunctionMode):
    """Has everything of one thread that draws numbers on the host draw them from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        """Take the generator."""
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call an operation of torch, with the generator where it takes one and was given none."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        tensor = next((one for one in args if isinstance(one, torch.Tensor)), None)
        device = kwargs.get("device") or (torch.get_default_device() if tensor is None else tensor.device)
        if torch.device(device).type == "cpu" and kwargs.get("generator") is None:
            if name in _LIKE:
                return getattr(torch.empty_like(*args, **kwargs), _LIKE[name])(generator=self.generator)
            if name in _DRAWING:
                kwargs["generator"] = self.generator
        return func(*args, **kwargs)


# The operations of torch that take a generator, and two that take none, with what they do.
_DRAWING = frozenset(
    {
        *("bernoulli", "multinomial", "normal", "rand", "randint", "randn", "randperm"),
        # Of torch.nn.init: what they call in turn is not seen.
        *("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"),
        *("orthogonal_", "sparse_", "trunc_normal_"),
        *("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_"),
    }
)
_LIKE = {"rand_like": "uniform_", "randn_like": "normal_"}


@contextmanager
def drawn_with(seed: int, purpose: str) -> Iterator[None]:
    """Draw what layers take from the process's own numbers, their first weights say, from a stream of its own.

    The process's own numbers are left alone, so that whoever else draws from them, in another thread, neither disturbs
    nor is disturbed.
    """
    with _Drawn(torch.Generator().manual_seed(derived_seed(seed, purpose))):
        yield


_depth, _touched = 0, False
_kept: tuple[torch.Tensor, list[torch.Tensor]]


def seed_all_else(seed: int) -> None:
    """Seed the process's own numbers, of every device: what parts of one's own draw while fitting."""
    global _touched
    with _lock:
        _touched = True
        torch.manual_seed(derived_seed(seed, "all else"))


def put_back_all_else(on_host: torch.Tensor, on_gpu: torch.Tensor | None, device: torch.device) -> None:
    """Put the process's own numbers where they were in a fit that goes on.

    Args:
        on_host: Their state there.
        on_gpu: And on the GPU of the fit; None for a fit without one.
        device: Of the fit.
    """
    global _touched
    with _lock:
        _touched = True
        torch.set_rng_state(on_host)
        if device.type == "cuda" and on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, device)


@contextmanager
def global_numbers_kept() -> Iterator[None]:
    """Leave the process's own random numbers as they were, once the last of those that run at a time has ended.

    Where no fit has touched them they are not looked at: other threads may have drawn from them meanwhile.
    """
    global _depth, _kept, _touched
    with _lock:
        if _depth == 0:
            # Asked, since it would otherwise wake every GPU of the machine.
            on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
            _kept, _touched = (torch.get_rng_state(), on_gpus), False
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _touched:
                torch.set_rng_state(_kept[0])
                if _kept[1]:
                    torch.cuda.set_rng_state_all(_kept[1])
