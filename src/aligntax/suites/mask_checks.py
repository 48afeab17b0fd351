"""Check digits and ranges: whether a number that looks like one of a kind is one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_DOCUMENTATION = tuple(
    ipaddress.ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


def luhn(digits: str) -> bool:
    """The check digit of cards (ISO/IEC 7812-1, annex B): every second digit from the right counts twice."""
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[::2] + [sum(divmod(2 * value, 10)) for value in values[1::2]]) % 10 == 0


def card(value: str) -> bool:
    """A card's number: 13 to 19 digits that are not all alike, with Luhn's check digit."""
    digits = _digits(value)
    return 13 <= len(digits) <= 19 and len({*digits}) > 1 and luhn(digits)


def iban(value: str) -> bool:
    """An IBAN: 15 to 34 signs whose number is 1 modulo 97 (ISO 13616)."""
    signs = re.sub(r"\W", "", value).upper()
    return 15 <= len(signs) <= 34 and int("".join(str(int(s, 36)) for s in signs[4:] + signs[:4])) % 97 == 1


def nhs(value: str) -> bool:
    """An NHS number: ten digits, the last one the check digit modulo 11."""
    digits = _digits(value)
    if len(digits) != 10 or len({*digits}) == 1:
        return False
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return rest % 11 == int(digits[9]) and rest != 10


def ssn(value: str) -> bool:
    """A social security number of the United States: it has no check digit, but areas and groups never given."""
    area, group, serial = value.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def dni(value: str) -> bool:
    """A Spanish DNI or NIE: its letter is the number modulo 23."""
    signs = re.sub(r"\W", "", value).upper()
    first = str("XYZ".find(signs[0])) if signs[0] in "XYZ" else signs[0]
    return _DNI[int(first + signs[1:8]) % 23] == signs[8]


def nir(value: str) -> bool:
    """A French social security number: 97 less its first 13 digits modulo 97; 2A and 2B count as 19 and 18."""
    signs = re.sub(r"\s", "", value).upper().replace("2A", "19").replace("2B", "18")
    return signs.isdecimal() and len(signs) == 15 and 97 - int(signs[:13]) % 97 == int(signs[13:])


def cpf(value: str) -> bool:
    """A Brazilian CPF: two check digits modulo 11."""
    digits = [int(digit) for digit in _digits(value)]
    if len(digits) != 11 or len({*digits}) == 1:
        return False
    for length in (9, 10):
        total = sum(digit * (length + 1 - at) for at, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return True


def personnummer(value: str) -> bool:
    """A Swedish personal number: a date (or one with 60 added to the day), and Luhn over the last ten digits."""
    digits = _digits(value)[-10:]
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91) and luhn(digits)


def address_v4(value: str) -> bool:
    """An IPv4 address of one machine, rather than of nobody: loopback, documentation and the like stay."""
    return _of_a_machine(value)


def address_v6(value: str) -> bool:
    """The same for IPv6; with a digit in it, for colons stand between words of code too."""
    return any(sign.isdigit() for sign in value) and _of_a_machine(value)


def phone(value: str) -> bool:
    """A telephone number: 7 to 15 digits (E.164)."""
    return 7 <= len(_digits(value)) <= 15


CHECKS: dict[str, Callable[[str], bool]] = {
    check.__name__: check
    for check in (card, iban, nhs, ssn, dni, nir, cpf, personnummer, address_v4, address_v6, phone)
}
"""What a rule may ask of its value, by name."""


def _digits(value: str) -> str:
    return "".join(sign for sign in value if sign in "0123456789")


def _of_a_machine(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    nobody = address.is_loopback or address.is_unspecified or address.is_multicast
    return not nobody and not any(address in net for net in _DOCUMENTATION) and value != "255.255.255.255"
