"""The rules in force: of each site, of the logs; None where nothing is to be masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from crawlers.exceptions import UserError
from crawlers.masking.rules import MaskingRules, PatternRules, fleet_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from scrapy.crawler import Crawler

    from crawlers.masking.keys import MaskingKeys
    from crawlers.masking.masker import Masker
    from crawlers.site_config import Site


class Masking:
    """A masker for each site that has rules, one for strangers, one for the logs."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, Masking]] = WeakKeyDictionary()

    def __init__(self, fleet: MaskingRules, keys: MaskingKeys, sites: Collection[Site] = ()):
        """Raises UserError where a rule lacks its key, or would give all products of a site one key."""
        self.keys = keys
        self._fleet = self._masker(fleet, "MASKING_PATTERNS, MASKING_FIELDS or MASKING_QUERY")
        self._sites = {site.name: self._of_site(fleet, site) for site in sites}
        self.of_logs = self._masker(_of_logs(fleet, sites), "a site")

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The one of `crawler`'s process, for the sites that its spider knows."""
        if crawler not in cls._shared:
            targets = getattr(crawler.spider, "targets", None)
            cls._shared[crawler] = cls.from_settings(crawler.settings, targets.sites.values() if targets else None)
        return cls._shared[crawler]  # type: ignore[return-value]

    @classmethod
    def from_settings(cls, settings: Any, sites: Iterable[Site] | None = None) -> Self:
        """For `sites`, or every enabled one. Raises UserError (SiteError for a TOML) naming what is wrong."""
        from crawlers.masking.keys import MaskingKeys
        from crawlers.site_config import load_sites

        known = load_sites(settings["SITES_DIR"]) if sites is None else sites
        return cls(fleet_rules(settings), MaskingKeys.of(settings), tuple(known))

    @classmethod
    def of_fleet(cls, settings: Any) -> Self:
        """Without the sites' own rules: for what begins before the sites are known."""
        return cls.from_settings(settings, ())

    def of_site(self, name: str) -> Masker | None:
        """The masker for a site's items; for a stranger's, the fleet's. None: they stay as they are."""
        return self._sites.get(name, self._fleet)

    @property
    def maskers(self) -> list[Masker]:
        """All of them."""
        return [masker for masker in (self._fleet, *self._sites.values()) if masker is not None]

    @property
    def is_active(self) -> bool:
        return bool(self.maskers)

    def _of_site(self, fleet: MaskingRules, site: Site) -> Masker | None:
        rules = site.masking.under(fleet)
        if rules.active_fields.get(site.identity) in ("mask", "drop"):
            raise UserError(
                f"site {site.name}: {site.identity} is its identity, and masked or dropped all its products would have "
                f"one key. Expected tokenise in masking.fields.{site.identity} (MASKING_FIELDS), or another identity"
            )
        return self._masker(rules, f"[masking] of site {site.name}", _country(site.locale))

    def _masker(self, rules: MaskingRules, where: str, country: str | None = None) -> Masker | None:
        if not rules.is_active:
            return None
        from crawlers.masking.masker import Masker

        if rules.tokenises and not self.keys:
            raise UserError(
                f"{where}: tokenise needs a key. Set MASKING_KEYS_FILE (or MASKING_KEYS): lines of id:secret"
            )
        return Masker(rules, self.keys, country)


def _country(locale: str | None) -> str | None:
    """`CH` of `de-CH`; None where the tag names none."""
    _, _, region = (locale or "").rpartition("-")
    return region.upper() if len(region) == 2 and region != locale else None


def _of_logs(fleet: MaskingRules, sites: Collection[Site]) -> MaskingRules:
    """What any site masks, as a line of log does not say whose page it is about."""
    rules = MaskingRules(fleet.patterns, query=fleet.query)
    for site in sites:
        of_site = site.masking.under(fleet)
        patterns = PatternRules(**of_site.active_patterns | rules.active_patterns)
        rules = MaskingRules(patterns, query=of_site.active_query | rules.active_query)
    return rules
