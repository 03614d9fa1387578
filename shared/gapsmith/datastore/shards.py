"""Shards on disk: safetensors files, and an index in JSON that names them with their SHA-256.

A shard's file name holds its digest and the index is written last, so that a data set is there whole or not at all,
also where an older one is replaced.
"""

import fcntl
import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from gapsmith.core.errors import DataError, InputError
from gapsmith.datastore.ragged import Field, Ragged, Schema, check_same, joined, offsets_of
from gapsmith.training.files import replacing, sha256, write_atomically

FORMAT: Final = 1
INDEX: Final = "index.json"
SIZES: Final = "sizes"  # tensor with the number of atoms of each sample
DTYPES: Final = {  # safetensors' names
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One file with a run of samples."""

    file: str
    samples: int
    atoms: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What a data set holds and where."""

    folder: Path
    name: str
    schema: Schema
    shards: tuple[Shard, ...]
    sizes: np.ndarray  # (samples,) unsigned: atoms of every sample
    about: Mapping[str, Any]  # what the writer had to say
    digest: bytes  # (32,) SHA-256 of the index file, which names the data set on the network

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    @property
    def starts(self) -> np.ndarray:
        """(shards + 1,) int64: first sample of every shard."""
        return offsets_of(np.array([shard.samples for shard in self.shards]))

    @classmethod
    def read(cls, folder: Path) -> "Index":
        """The index of a data set; raises DataError if it is missing or damaged."""
        path = folder / INDEX
        try:
            text = path.read_bytes()
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise DataError(f"{path} has format {found['format']!r}; this version reads {FORMAT}: write it again")
            schema = {
                name: Field(x["dtype"], tuple(x["shape"]), bool(x["per_atom"])) for name, x in found["arrays"].items()
            }
            shards = tuple(Shard(**shard) for shard in found["shards"])
            sizes = mapped(folder / found["sizes"]["file"], found["sizes"]["sha256"])[SIZES].copy()
        except FileNotFoundError as error:
            raise DataError(f"{error.filename} is missing: {folder} holds no whole data set; write it again") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error!r}): write the data set again") from error
        if sum(shard.samples for shard in shards) != len(sizes):
            raise DataError(f"{path} names shards of another number of samples than the {len(sizes)} that have sizes")
        return cls(folder, found["name"], schema, shards, sizes, found["about"], hashlib.sha256(text).digest())

    def load(self, number: int) -> Ragged:
        """A shard's samples, memory-mapped, after checking its SHA-256; raises DataError."""
        shard = self.shards[number]
        arrays = mapped(self.folder / shard.file, shard.sha256)
        offsets = offsets_of(arrays.pop(SIZES, np.zeros(0)))
        shapes = {
            name: (shard.atoms if field.per_atom else shard.samples, *field.shape)
            for name, field in self.schema.items()
        }
        if len(offsets) != shard.samples + 1 or {name: array.shape for name, array in arrays.items()} != shapes:
            raise DataError(f"{self.folder / shard.file} is no shard of {self.name}: write the data set again")
        return Ragged(offsets, {name: arrays[name] for name in self.schema}, self.schema)


def write_shards(
    folder: Path,
    samples: Iterable[Ragged],
    shard_size: int,
    *,
    name: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Index:
    """Write samples as shards of ``shard_size``, replacing what the folder held before.

    Args:
        folder: where to; one writer at a time, others wait.
        samples: pieces of any length, so that the whole need not fit into memory.
        shard_size: samples of every shard but the last.
        name: of the data set; the folder's if None.
        about: kept in the index, as JSON; read after the last sample, so that who makes them may still fill it.

    Raises:
        InputError: there are no samples, their arrays differ in kind or cannot be stored, or shard_size is below 1.
        DataError: the disk does not take them.
    """
    if shard_size < 1:
        raise InputError(f"shard_size must be at least 1, got {shard_size}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _write(folder, _cut(samples, shard_size), name or folder.name, about or {})
    except (OSError, SafetensorError) as error:
        raise DataError(f"shards cannot be written to {folder} ({error}): is the disk full?") from error


def _write(folder: Path, pieces: Iterator[Ragged], name: str, about: Mapping[str, Any]) -> Index:
    shards: list[Shard] = []
    sizes: list[np.ndarray] = []
    schema: Schema | None = None
    for piece in pieces:
        if unknown := sorted(n for n, x in piece.schema.items() if x.dtype not in DTYPES.values() or n == SIZES):
            raise InputError(f"arrays {unknown} cannot be stored: a name is taken, or a type is not one of safetensors")
        check_same(schema := schema or piece.schema, piece.schema)
        sizes.append(piece.sizes)
        file, digest = _save(folder, f"shard-{len(shards):05d}", {**piece.arrays, SIZES: _small(piece.sizes)})
        shards.append(Shard(file, len(piece), int(piece.offsets[-1]), digest))
    if schema is None:
        raise InputError(f"there are no samples to write to {folder}")
    file, digest = _save(folder, SIZES, {SIZES: _small(np.concatenate(sizes))})
    index = {
        "format": FORMAT,
        "name": name,
        "arrays": {name: asdict(field) for name, field in schema.items()},
        "sizes": {"file": file, "sha256": digest},
        "shards": [asdict(shard) for shard in shards],
        "about": dict(about),
    }
    write_atomically(folder / INDEX, json.dumps(index, indent=1).encode())
    kept = {file, *(shard.file for shard in shards)}
    for old in folder.glob("*.safetensors"):
        if old.name not in kept:
            old.unlink(missing_ok=True)
    return Index.read(folder)


def _save(folder: Path, stem: str, arrays: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Name and SHA-256 of the file that the arrays were written to."""
    unnamed = folder / f".{stem}.safetensors"
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(unnamed))
        digest = sha256(unnamed)
        with replacing(folder / f"{stem}-{digest[:12]}.safetensors") as partial:
            unnamed.replace(partial)
    finally:
        unnamed.unlink(missing_ok=True)
    return f"{stem}-{digest[:12]}.safetensors", digest


def _small(sizes: np.ndarray) -> np.ndarray:
    return sizes.astype(np.min_scalar_type(int(sizes.max(initial=0))))


def _cut(samples: Iterable[Ragged], shard_size: int) -> Iterator[Ragged]:
    """The same samples in pieces of ``shard_size``."""
    waiting: list[Ragged] = []
    for piece in samples:
        start, held = 0, sum(len(part) for part in waiting)
        while held + len(piece) - start >= shard_size:
            stop = start + shard_size - held
            yield joined([*waiting, piece.between(start, stop)])
            waiting, start, held = [], stop, 0
        if start < len(piece):
            waiting.append(piece.between(start, len(piece)))
    if waiting:
        yield joined(waiting)


def mapped(path: Path, digest: str) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file without copying them, after checking its SHA-256; raises DataError.

    The library's own reader copies whole tensors, while a store on disk wants a few rows of each. Format: length of the
    header, the header in JSON, the tensors' bytes (https://huggingface.co/docs/safetensors).
    """
    try:
        with path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: write the data set again") from error
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise DataError(f"{path} cannot be read ({error}): write the data set again") from error
    if (found := hashlib.sha256(memory).hexdigest()) != digest:
        raise DataError(f"{path} is damaged: its SHA-256 is {found}, the index says {digest}; write the data set again")
    length = int.from_bytes(memory[:8], "little")
    header = json.loads(memory[8 : 8 + length])
    whole = np.frombuffer(memory, np.uint8)[8 + length :]
    return {
        name: whole[slice(*x["data_offsets"])].view(DTYPES[x["dtype"]]).reshape(x["shape"])
        for name, x in header.items()
        if name != "__metadata__"
    }
