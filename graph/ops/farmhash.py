"""FarmHash's Fingerprint64: a 64-bit hash of bytes that never changes.

Source: the published algorithm (Geoff Pike, Google, 2014), variant "na", little endian.
"""
from __future__ import annotations

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_ALL = 2**64 - 1


def _fetch(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at:at + size], "little")


def _rotate(x: int, by: int) -> int:
    x &= _ALL
    return x >> by | x << (64 - by) & _ALL


def _shift_mix(x: int) -> int:
    x &= _ALL
    return x ^ x >> 47


def _join(u: int, v: int, factor: int) -> int:
    a = _shift_mix(((u ^ v) & _ALL) * factor)
    return _shift_mix(((v ^ a) & _ALL) * factor) * factor & _ALL


def fingerprint64(s: bytes) -> int:
    n = len(s)
    if n <= 16:
        return _up_to_16(s, n)
    if n <= 64:
        return _up_to_64(s, n)
    y = 81 * _K1 + 113
    z = _shift_mix(y * _K2 + 113) * _K2
    state = (81 * _K2 + _fetch(s, 0), y, z, (0, 0), (0, 0))
    end = (n - 1) // 64 * 64
    for at in range(0, end, 64):
        state = _block(s, at, _K1, 1, *state)
    x, y, z, v, w = state
    factor, rest = _K1 + ((z & 0xFF) << 1), (n - 1) & 63
    first = w[0] + rest
    v = (v[0] + first, v[1])
    w = (first + v[0], w[1])
    x, y, z, v, w = _block(s, end + rest - 63, factor, 9, x, y, z, v, w)
    return _join(_join(v[0], w[0], factor) + _shift_mix(y) * _K0 + z, _join(v[1], w[1], factor) + x, factor)


def _up_to_16(s: bytes, n: int) -> int:
    factor = _K2 + n * 2
    if n >= 8:
        a, b = _fetch(s, 0) + _K2, _fetch(s, n - 8)
        return _join(_rotate(b, 37) * factor + a, (_rotate(a, 25) + b) * factor, factor)
    if n >= 4:
        return _join(n + (_fetch(s, 0, 4) << 3), _fetch(s, n - 4, 4), factor)
    if n == 0:
        return _K2
    y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
    return _shift_mix(y * _K2 & _ALL ^ z * _K0 & _ALL) * _K2 & _ALL


def _up_to_64(s: bytes, n: int) -> int:
    factor, b, c0, d = _K2 + n * 2, _fetch(s, 8), _fetch(s, n - 8), _fetch(s, n - 16) * _K2
    a = _fetch(s, 0) * (_K1 if n <= 32 else _K2)
    c = c0 * factor
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _join(y, a + _rotate(b + _K2, 18) + c, factor)
    if n <= 32:
        return z
    e, f = _fetch(s, 16) * factor, _fetch(s, 24)
    g, h = (y + _fetch(s, n - 32)) * factor, (z + _fetch(s, n - 24)) * factor
    return _join(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, factor)


_Pair = tuple[int, int]


def _mix32(s: bytes, at: int, a: int, b: int) -> _Pair:
    """32 bytes into two words."""
    a += _fetch(s, at)
    last = _fetch(s, at + 24)
    b = _rotate(b + a + last, 21)
    c = a
    a += _fetch(s, at + 8) + _fetch(s, at + 16)
    b += _rotate(a, 44)
    return (a + last) & _ALL, (b + c) & _ALL


def _block(s: bytes, at: int, factor: int, nine: int, x: int, y: int, z: int, v: _Pair,
           w: _Pair) -> tuple[int, int, int, _Pair, _Pair]:
    """64 bytes; the last block may overlap the one before."""
    x = _rotate(x + y + v[0] + _fetch(s, at + 8), 37) * factor & _ALL
    y = _rotate(y + v[1] + _fetch(s, at + 48), 42) * factor & _ALL
    x ^= w[1] * nine & _ALL
    y = (y + v[0] * nine + _fetch(s, at + 40)) & _ALL
    z = _rotate(z + w[0], 33) * factor & _ALL
    v = _mix32(s, at, v[1] * factor, x + w[0])
    w = _mix32(s, at + 32, z + w[1], y + _fetch(s, at + 16))
    return z, y, x, v, w
