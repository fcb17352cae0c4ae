"""Renders both kustomizations as a user would change them, and checks what comes out; then each rule by a fault of its own.

    python tests/manifests.py ROOT
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

import faults
import rules

# The oldest with containers beside the main one that end with it (the drill's Qdrant), and Pods that are replaced when they have ended.
OLDEST = (1, 29)


def changed(text, components, settings):
    """A kustomization.yaml with more components and settings, put where a user would, and with what it has as comments."""
    text = re.sub(r"^  # - \.\./components/.*\n", "", text, flags=re.M)
    text = re.sub(r"^(      )# (- [A-Z_]+=)", r"\1\2", text, flags=re.M)
    listed = "".join(f"  - ../components/{name}\n" for name in components if f"- ../components/{name}\n" not in text)
    text = text.replace("components:\n", "components:\n" + listed, 1)
    return text.replace("    literals:\n", "    literals:\n" + "".join(f"      - {setting}\n" for setting in settings), 1)


def variants(source):
    """Name and rendered resources of each variant."""
    original = {name: (source / name / "kustomization.yaml").read_text() for name in ("gke", "directory")}
    everything = ["verify", "prune", "drill"]
    oidc = ["AUTH_AUDIENCE=https://backup.example.com", "AUTH_ADMINS=ops@example.com"]
    for name, text in original.items():
        yield name, kustomize(source, name, text)
        for serve, settings in (("serve", []), ("serve-oidc", oidc), ("metrics", [])):
            more = changed(text, [*everything, serve], settings)
            yield f"{name} with {', '.join(everything)} and {serve}", kustomize(source, name, more)
        # First, so that whatever comes after it has it, too.
        yield f"{name} with notify and all", kustomize(source, name, changed(text, ["notify", *everything, "serve"], []))
        whole = changed(text, [*everything, "serve"], [])
        yield f"{name} with another secret", another_secret(kustomize(source, name, with_patches(whole, source)))


def with_patches(text, source):
    """With the patches that the how-to shows."""
    page = (source.parents[1] / "docs/how-to/run-on-kubernetes.md").read_text()
    patches = re.search(r"^```yaml patches\n(.*?)^```$", page, re.M | re.S)[1]
    return text.replace("patches:\n", patches, 1) if "\npatches:\n" in text else text + "\n" + patches


def another_secret(resources):
    """The same, and Qdrant's key comes from no other secret than the one of the how-to."""
    names = [
        volume["secret"]["secretName"]
        for resource in resources
        for pod in rules.pods(resource)
        for volume in pod.spec["volumes"]
        if volume["name"] == "api-key"
    ]
    if len(names) != 5 or set(names) != {"search-qdrant-apikey"}:
        sys.exit(f"the how-to's patches lead to the secrets {names}")
    return resources


def kustomize(source, name, text):
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "kubernetes"
        shutil.copytree(source, copy)
        (copy / name / "kustomization.yaml").write_text(text)
        done = subprocess.run(["kubectl", "kustomize", copy / name], capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            sys.exit(f"{name} cannot be rendered, or not without a warning:\n{done.stderr}")
        return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def versions():
    every = {tuple(map(int, version.split(".")[:2])) for version in kubernetes_validate.utils.all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(every) if (major, minor) >= OLDEST]


def by_schema(resources, version):
    for resource in resources:
        # No schema of it is at hand: rules.monitors.
        if resource["kind"] == "ServiceMonitor":
            continue
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = "/".join(map(str, error.path))
            yield f"schema {version}: {resource['kind']} {resource['metadata']['name']}: {where}: {error.message}"


def main(root):
    source = root / "deploy/kubernetes"
    known = rules.Known.of(root)
    beside = list(yaml.safe_load_all((source / "directory/claim.yaml").read_text()))
    problems, rendered = [], {}
    for name, resources in variants(source):
        rendered[name] = resources
        found = [problem for version in versions() for problem in by_schema(resources + beside, version)]
        found += rules.problems(resources, beside, known)
        problems += [f"{name}: {problem}" for problem in found]
        print(f"{name}: {len(resources)} resources, Kubernetes {versions()[0]} to {versions()[-1]}")
    if problems:
        sys.exit("\n".join(problems))
    unseen = list(faults.unseen(rendered, beside, known, lambda resources: by_schema(resources, versions()[-1])))
    if unseen:
        sys.exit("faults that no rule has seen:\n" + "\n".join(unseen))
    print(f"{len(faults.FAULTS + faults.SCRAPED + faults.TOLD)} planted faults, each seen")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
