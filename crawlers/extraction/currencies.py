"""ISO 4217 codes, and what a currency sign means where."""

from __future__ import annotations

from typing import Any

from crawlers.extraction.terms import term_set

CURRENCIES = term_set(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA
    MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """
)
"""The codes of ISO 4217 that a price can be in (funds, metals and test codes are left out)."""

WITHOUT_MINOR_UNIT = term_set("CLP COP IDR ISK JPY KRW PYG UGX VND XAF XOF XPF")
"""Currencies whose prices are written without decimals."""

WITH_THREE_DECIMALS = term_set("BHD IQD JOD KWD LYD OMR TND")

_DOLLARS = ["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN", "ARS", "CLP", "COP", "UYU", "BND", "FJD", "JMD"]
_SIGNS: dict[str, list[str]] = {
    "$": _DOLLARS, "€": ["EUR"], "EURO": ["EUR"], "EUROS": ["EUR"], "£": ["GBP", "EGP", "FKP", "GIP", "SHP"],
    "¥": ["JPY", "CNY"], "￥": ["JPY", "CNY"], "円": ["JPY"], "元": ["CNY", "TWD"], "RMB": ["CNY"],
    "KR": ["SEK", "NOK", "DKK", "ISK"], "₹": ["INR"], "RS": ["INR", "PKR", "LKR", "NPR", "MUR"],
    "₨": ["INR", "PKR", "LKR", "NPR", "MUR"], "ZŁ": ["PLN"], "KČ": ["CZK"], "FT": ["HUF"], "LEI": ["RON", "MDL"],
    "ЛВ": ["BGN"], "₽": ["RUB"], "РУБ": ["RUB", "BYN"], "Р": ["RUB", "BYN"], "BR": ["BYN"], "₴": ["UAH"],
    "ГРН": ["UAH"], "₸": ["KZT"], "ТГ": ["KZT"], "ТҢГ": ["KZT"], "₺": ["TRY"], "TL": ["TRY"], "₪": ["ILS"],
    "₩": ["KRW"], "₫": ["VND"], "Đ": ["VND"], "฿": ["THB"], "₱": ["PHP"], "RP": ["IDR"], "RM": ["MYR"], "₦": ["NGN"],
    "₵": ["GHS"], "GH₵": ["GHS"], "₡": ["CRC"], "₲": ["PYG"], "₼": ["AZN"], "₾": ["GEL"], "֏": ["AMD"], "৳": ["BDT"],
    "₭": ["LAK"], "៛": ["KHR"], "₮": ["MNT"], "R$": ["BRL"], "US$": ["USD"], "U$S": ["USD"], "CA$": ["CAD"],
    "C$": ["CAD", "NIO"], "A$": ["AUD"], "AU$": ["AUD"], "NZ$": ["NZD"], "S$": ["SGD"], "HK$": ["HKD"],
    "NT$": ["TWD"], "NT": ["TWD"], "MX$": ["MXN"], "AR$": ["ARS"], "CL$": ["CLP"], "CO$": ["COP"], "FR": ["CHF"],
    "SFR": ["CHF"], "DIN": ["RSD"], "ДИН": ["RSD"], "ДЕН": ["MKD"], "KM": ["BAM"], "د.إ": ["AED"], "ر.س": ["SAR"],
    "S/": ["PEN"], "Q": ["GTQ"], "R": ["ZAR"],
}  # fmt: skip

_COUNTRIES = """
    AR:ARS AU:AUD BB:BBD BN:BND BS:BSD BY:BYN BZ:BZD CA:CAD CL:CLP CN:CNY CO:COP DK:DKK EG:EGP FJ:FJD FK:FKP
    GB:GBP GI:GIP HK:HKD IN:INR IS:ISK JM:JMD JP:JPY LK:LKR MD:MDL MU:MUR MX:MXN NA:NAD NI:NIO NO:NOK NP:NPR
    NZ:NZD PK:PKR RO:RON RU:RUB SE:SEK SG:SGD TT:TTD TW:TWD UK:GBP US:USD UY:UYU
"""
_BY_COUNTRY = dict(pair.split(":") for pair in _COUNTRIES.split())
_BY_LANGUAGE = {
    "sv": "SEK", "da": "DKK", "nb": "NOK", "nn": "NOK", "no": "NOK", "is": "ISK", "ja": "JPY", "zh": "CNY",
    "ru": "RUB", "be": "BYN", "ro": "RON", "en": "USD", "hi": "INR",
}  # fmt: skip


def candidates(sign: str) -> tuple[str, ...]:
    """The currencies that a code or sign can mean, the likeliest first; empty where it means none."""
    folded = sign.strip().strip(".\u200e\u200f \xa0").upper()
    if folded in CURRENCIES:
        return (folded,)
    return tuple(_SIGNS.get(folded, ()))


def parse_currency(
    value: Any, *, country: str = "", locale: str | None = None, fallback: str | None = None
) -> str | None:
    """The ISO 4217 code that `value`, a code or a sign, stands for; None where that cannot be told.

    An ambiguous sign ('$', 'kr', '¥') is decided by the site's own currency, the country of the shop's domain,
    the locale's region, and last the locale's language; '$' in English, or with nothing known, is USD.
    """
    if not isinstance(value, str) or len(value) > 20:
        return None
    possible = candidates(value)
    if len(possible) < 2:
        return possible[0] if possible else None
    language, _, region = (locale or "en").replace("_", "-").partition("-")
    hints = (
        fallback,
        _BY_COUNTRY.get(country.upper()),
        _BY_COUNTRY.get(region.upper()),
        _BY_LANGUAGE.get(language.lower()),
    )
    exact = next((hint for hint in hints if hint in possible), None)
    return exact or (possible[0] if possible[0] in ("GBP", "INR", "CAD") else None)
