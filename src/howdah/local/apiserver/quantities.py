"""Resource quantities (`1Gi`, `500m`) in the one spelling that the API stores."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:(n|u|m|k|[MGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_NAMES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_NAMES = {power: suffix for suffix, power in _BINARY.items()}


def parsed(text: str) -> Decimal:
    """The number that a quantity means; ValueError where it is none."""
    return _read(text)[0]


def canonical(value: str | float) -> str:
    """The stored spelling: the largest suffix that keeps the number whole. ValueError for no quantity."""
    number, style = _read(str(value))
    if style == "binary" and abs(number) >= 1024 and number == number.to_integral_value():
        return _binary(int(number))
    if number == 0:
        return "0"
    return _decimal(number, exponent_style=style == "exponent")


def _read(text: str) -> tuple[Decimal, str]:
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"quantities must match the regular expression '{PATTERN}'")
    suffix = found[2] or ""
    try:
        number = Decimal(found[1])
    except InvalidOperation as error:
        raise ValueError(f"quantities must match the regular expression '{PATTERN}'") from error
    if suffix in _BINARY:
        return number * 1024 ** _BINARY[suffix], "binary"
    if found[3] is not None:
        return number.scaleb(int(found[3])), "exponent"
    return number.scaleb(_DECIMAL[suffix]), "decimal"


def _binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < 6:
        number //= 1024
        power += 1
    return f"{number}{_BINARY_NAMES.get(power, '')}"


def _decimal(number: Decimal, *, exponent_style: bool) -> str:
    nanos = int((number.scaleb(9)).to_integral_value(rounding="ROUND_UP"))
    exponent = -9
    while nanos % 1000 == 0 and exponent < 18:
        nanos //= 1000
        exponent += 3
    if exponent_style:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_NAMES[exponent]}"
