"""CRC-32C (Castagnoli), plain and masked. Source: RFC 3720, appendix B.4; the mask is LevelDB's.

Bytes are taken in equal lanes, all lanes a byte at a time in NumPy; lanes are then joined, for a crc moves over zero
bytes linearly. About 60 MB/s.
"""
from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint32]


def _make_table() -> _Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> np.uint32(1) ^ (table & np.uint32(1)) * np.uint32(0x82F63B78)
    return table


_TABLE = _make_table()
_SMALL: list[int] = _TABLE.tolist()


def crc32c(data: bytes, crc: int = 0) -> int:
    """The crc of `data`, or of it after bytes whose crc is `crc`."""
    crc ^= 0xFFFFFFFF
    lanes = int(len(data) ** 0.5) if len(data) >= 4096 else 0
    if lanes:
        length = len(data) // lanes
        columns = np.frombuffer(data, np.uint8, lanes * length).reshape(lanes, length).T
        states = np.zeros(lanes, np.uint32)
        states[0] = crc
        for column in columns:
            states = states >> 8 ^ _TABLE[(states ^ column) & 255]
        shift = _zeros(length)
        crc = 0
        for state in states.tolist():
            crc = _apply(shift, crc) ^ state
        data = data[lanes * length:]
    for byte in data:
        crc = crc >> 8 ^ _SMALL[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def _apply(matrix: list[int], crc: int) -> int:
    result = 0
    for row in matrix:
        if crc & 1:
            result ^= row
        crc >>= 1
    return result


def _zeros(length: int) -> list[int]:
    """What `length` zero bytes do to each bit of a crc: a matrix, by repeated squaring."""
    power = [_SMALL[b] if b < 256 else b >> 8 for b in (1 << i for i in range(32))]
    result = [1 << i for i in range(32)]
    while length:
        if length & 1:
            result = [_apply(power, row) for row in result]
        power = [_apply(power, row) for row in power]
        length >>= 1
    return result


def masked_crc32c(data: bytes, crc: int = 0) -> int:
    """As files store it beside data that may hold crcs itself."""
    return mask(crc32c(data, crc))


def mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
