"""What `kustomize build` makes of deploy/k8s, in so far as that is used there; anything else is refused.

Names of generated ConfigMaps get no hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

_KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "patches", "images",
}  # fmt: skip
_CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Resource]:
    """The resources of a kustomization."""
    return _Build().add(folder)


class _Build:
    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Resource] = {}

    def add(self, folder: Path) -> list[Resource]:
        text = yaml.safe_load((folder / "kustomization.yaml").read_text())
        assert set(text) <= _KNOWN, f"{folder}: {set(text) - _KNOWN} is more than this builds"
        for name in text.get("resources", ()):
            path = folder / name
            own = _Build().add(path) if path.is_dir() else list(documents(path))
            for resource in own:
                assert _key(resource) not in self.found, f"{path}: {_key(resource)} is there already"
                self.found[_key(resource)] = resource
        for name in text.get("components", ()):
            self.add(folder / name)
        for generator in text.get("configMapGenerator", ()):
            self._generate(folder, dict(generator))
        for patch in text.get("patches", ()):
            assert set(patch) == {"path"}, patch
            for document in documents(folder / patch["path"]):
                self._patch(document)
        for resource in self.found.values():
            _transform(resource, text)
        return list(self.found.values())

    def _generate(self, folder: Path, generator: dict[str, Any]) -> None:
        name, behavior = generator.pop("name"), generator.pop("behavior", "create")
        data: dict[str, str] = {}
        for path in generator.pop("envs", ()):
            lines = (line.strip() for line in (folder / path).read_text().splitlines())
            data |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        for path in generator.pop("files", ()):
            data[Path(path).name] = (folder / path).read_text()
        assert not generator, generator
        assert (behavior == "merge") == (("ConfigMap", name) in self.found), f"{folder}: {name}: {behavior}"
        fresh = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}}
        self.found.setdefault(("ConfigMap", name), fresh)["data"].update(data)

    def _patch(self, patch: Resource) -> None:
        key = _key(patch)
        assert key in self.found, f"{key} is patched, and not there"
        if patch.pop("$patch", "") == "delete":
            del self.found[key]
        else:
            _merge(self.found[key], patch)


def documents(path: Path) -> Iterator[Resource]:
    """The YAML documents of a file."""
    yield from yaml.safe_load_all(path.read_text())


def pods(resources: list[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """(owner, pod template) of each that makes pods."""
    for one in resources:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield one, spec["template"]


def _transform(resource: Resource, text: dict[str, Any]) -> None:
    if namespace := text.get("namespace"):
        if resource["kind"] not in _CLUSTER_WIDE:
            resource["metadata"]["namespace"] = namespace
        elif resource["kind"] == "Namespace":
            resource["metadata"]["name"] = namespace
    tags = {image["name"]: image["newTag"] for image in text.get("images", ())}
    for _, pod in pods([resource]):
        for container in pod["spec"]["containers"]:
            if container["image"] in tags:
                container["image"] += f":{tags[container['image']]}"


def _merge(into: Resource, patch: Resource) -> None:
    for name, value in patch.items():
        assert not isinstance(value, list), f"{name}: lists are merged by rules of their own"
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def _key(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]
