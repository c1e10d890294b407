"""What is masked, and how: the fleet's rules from the settings, and a site's own, which go first, entry by entry."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_type_hints

import msgspec

from crawlers.exceptions import UserError

Action = Literal["keep", "mask", "drop", "tokenise"]
"""Left as it is; `*kind*` in its place; nothing in its place; a token, the same for the same value."""

_Text = Literal["keep", "patterns", "mask", "drop", "tokenise"]
_Needed = Literal["keep", "patterns", "mask", "tokenise"]
_Url = Literal["keep", "patterns"]
_Droppable = Literal["keep", "patterns", "drop"]


class PatternRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What becomes of what a pattern finds; None is as the fleet has it, or kept."""

    email: Action | None = None
    phone: Action | None = None
    iban: Action | None = None
    card: Action | None = None


class FieldRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What becomes of a field, whatever it holds. `patterns` applies the patterns to it; None is FIELD_DEFAULTS'."""

    name: _Needed | None = None
    brand: _Text | None = None
    description: _Text | None = None
    breadcrumbs: _Text | None = None
    sku: _Text | None = None
    mpn: _Text | None = None
    gtin: _Text | None = None
    url: _Url | None = None
    canonical_url: _Url | None = None
    images: _Droppable | None = None
    content: _Droppable | None = None


class MaskingRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The [masking] table of a site, and the fleet's MASKING_PATTERNS, MASKING_FIELDS and MASKING_QUERY."""

    patterns: PatternRules = PatternRules()
    fields: FieldRules = FieldRules()
    query: dict[str, Action] = {}
    """Of a URL's parameters by name, wherever a URL stands."""

    def under(self, fleet: MaskingRules) -> MaskingRules:
        """These rules, and the fleet's where these say nothing."""
        return MaskingRules(
            PatternRules(**_said(fleet.patterns) | _said(self.patterns)),
            FieldRules(**_said(fleet.fields) | _said(self.fields)),
            fleet.query | self.query,
        )

    @property
    def active_patterns(self) -> dict[str, Action]:
        """Those patterns whose finds are not kept."""
        return _active(_said(self.patterns))

    @property
    def active_query(self) -> dict[str, Action]:
        return _active(self.query)

    @property
    def active_fields(self) -> dict[str, Action]:
        """The fields that are replaced as a whole."""
        return {name: action for name, action in _active(_said(self.fields)).items() if action != "patterns"}

    @property
    def searched_fields(self) -> frozenset[str]:
        """The fields in which patterns are looked for."""
        return frozenset(name for name, action in (FIELD_DEFAULTS | _said(self.fields)).items() if action == "patterns")

    @property
    def of_content(self) -> Literal["keep", "patterns", "drop"]:
        """What becomes of a page: a field's rule cannot be applied to the markup that it was read from."""
        return self.fields.content or ("drop" if self.active_fields else "patterns")

    @property
    def is_active(self) -> bool:
        return bool(self.active_patterns or self.active_fields or self.active_query)

    @property
    def tokenises(self) -> bool:
        return "tokenise" in {**self.active_patterns, **self.active_query, **self.active_fields}.values()


FIELD_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("name", "brand", "description", "breadcrumbs"), "patterns"),
    **dict.fromkeys(("url", "canonical_url", "images", "content"), "patterns"),
    **dict.fromkeys(("sku", "mpn", "gtin"), "keep"),  # identifiers are digits that patterns must not touch
}


def fleet_rules(settings: Any) -> MaskingRules:
    """The rules of MASKING_PATTERNS, MASKING_FIELDS and MASKING_QUERY. Raises UserError naming what is wrong."""
    return MaskingRules(
        _read(settings, "MASKING_PATTERNS", PatternRules),
        _read(settings, "MASKING_FIELDS", FieldRules),
        _read(settings, "MASKING_QUERY", dict[str, Action]),
    )


def expected_actions(table: str, key: str) -> str:
    """The actions that a key of [masking.patterns], [masking.fields] or [masking.query] may have, as a text."""
    kinds = {"patterns": PatternRules, "fields": FieldRules}
    kind = get_args(get_type_hints(kinds[table])[key])[0] if table in kinds else Action
    return ", ".join(get_args(kind))


def _read(settings: Any, setting: str, kind: Any) -> Any:
    entries = {}
    for entry in settings.getlist(setting):
        name, equals, action = str(entry).strip().partition("=")
        if not equals:
            raise UserError(f"{setting}={entry}: expected name=action, comma separated")
        entries[name.strip()] = action.strip()
    try:
        return msgspec.convert(entries, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{setting}: {_explained(entries, kind, str(error))}") from None


def _explained(entries: dict[str, str], kind: Any, message: str) -> str:
    known = getattr(kind, "__struct_fields__", None)
    if known is not None and (unknown := [name for name in entries if name not in known]):
        return f"unknown {unknown[0]}, expected one of {', '.join(known)}"
    table = "patterns" if kind is PatternRules else "fields" if kind is FieldRules else "query"
    for name, action in entries.items():
        expected = expected_actions(table, name)
        if action not in expected.split(", "):
            return f"{name}={action}: expected one of {expected}"
    return message


def _said(rules: Any) -> dict[str, Any]:
    return {name: action for name, action in msgspec.structs.asdict(rules).items() if action is not None}


def _active(rules: dict[str, Any]) -> dict[str, Any]:
    return {name: action for name, action in rules.items() if action != "keep"}
