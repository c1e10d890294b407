"""What a crawl is asked to do: the sites and URLs of `-a sites=`, `-a urls=` and `-a follow=`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urldefrag

from crawlers.domains import domain_of, is_web_url
from crawlers.exceptions import UserError
from crawlers.site_config import Site, load_sites


@dataclass(frozen=True, slots=True)
class Targets:
    """The sites that a crawl knows by name, and the URLs that it was given besides their seeds."""

    sites: dict[str, Site]
    urls: tuple[str, ...] = ()
    follow: bool = True
    """Whether links are followed."""
    by_default: bool = False
    """Whether nothing was asked for: these are all the sites there are."""

    def site_of(self, url: str) -> Site:
        """The site that owns `url`; for a stranger's, one that is named after its domain and keyed by URL."""
        for site in self.sites.values():
            if site.owns(url):
                return site
        return _stranger(domain_of(url))

    @property
    def domains(self) -> set[str]:
        """Every domain that the crawl is about."""
        return {domain for site in self.sites.values() for domain in site.domains}


def read_targets(
    sites_dir: str, sites: str | None = None, urls: str | None = None, follow: str | bool | None = None
) -> Targets:
    """The targets of the spider arguments. Raises UserError (SiteError for a TOML) naming what is wrong."""
    following = _is_true(follow)
    if sites is not None and urls is not None:
        raise UserError("-a sites= and -a urls= exclude each other: run two crawls")
    if urls is None:
        if follow is not None:
            raise UserError("-a follow= goes with -a urls=: a site's [follow] says what of it is followed")
        named = _by_name(load_sites(sites_dir, _read_names(sites)), sites_dir)
        return Targets(named, by_default=sites is None)
    given = tuple(_read_urls(urls))
    known = load_sites(sites_dir)
    if not following:
        return Targets({site.name: site for site in known}, given, follow=False)
    wanted = Targets({site.name: site for site in known})
    return Targets({site.name: site for site in map(wanted.site_of, given)}, given)


def _by_name(sites: list[Site], folder: str) -> dict[str, Site]:
    if not sites:
        raise UserError(f"nothing to crawl: no enabled site in {folder}. Add one there, or use -a urls=URL")
    return {site.name: site for site in sites}


@lru_cache(256)
def _stranger(domain: str) -> Site:
    return Site(name=domain, domains=(domain,))


def _is_true(follow: str | bool | None) -> bool:
    text = str(follow or "0").lower()
    if text not in ("0", "1", "true", "false"):
        raise UserError(f"-a follow={follow}: expected 0 or 1")
    return text in ("1", "true")


def _read_names(argument: str | None) -> list[str] | None:
    if argument is None:
        return None
    names = [name.strip() for name in argument.split(",") if name.strip()]
    if not names:
        raise UserError(f"-a sites={argument}: expected names of sites, comma separated")
    return names


def _read_urls(argument: str) -> list[str]:
    if argument.startswith("@"):
        return _read_url_file(Path(argument[1:]))
    urls = [_checked(url.strip(), "-a urls=") for url in argument.split(",") if url.strip()]
    if not urls:
        raise UserError(f"-a urls={argument}: expected URLs, comma separated, or @FILE")
    return urls


def _read_url_file(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"-a urls=@{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"-a urls=@{path}: not UTF-8: byte {error.start}") from None
    urls = [
        _checked(line.strip(), f"{path}:{number}: ")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not urls:
        raise UserError(f"-a urls=@{path}: no URL in it")
    return urls


def _checked(url: str, where: str) -> str:
    if not is_web_url(url):
        raise UserError(f"{where}{url}: expected an http or https URL")
    return urldefrag(url).url
