"""Which files `gcloud builds submit` would upload from here, by the rules of .gcloudignore (those of .gitignore, as far as it uses
them): neither state nor variables nor keys, and everything that the build needs.

    upload.py ROOT [-v]
"""
import fnmatch, os, pathlib, sys

ROOT = pathlib.Path(sys.argv[1])
# As they lie about on the machine of whoever builds.
PRIVATE = [
    ".env", ".git/config", "target/debug/qdrant-backup", "terraform/.terraform/providers/p", "terraform/.terraform/terraform.tfstate",
    "terraform/terraform.tfstate", "terraform/terraform.tfstate.backup", "terraform/terraform.tfvars", "terraform/prod.auto.tfvars",
    "terraform/prod.tfvars.json", "terraform/examples/connector/terraform.tfstate", "terraform/a.tfplan", "terraform/crash.log",
    "gcp-credentials.json", "service-account.json", "keys/server.key", "keys/server.pem",
]
NEEDED = ["Cargo.toml", "Cargo.lock", "Dockerfile", ".dockerignore", "cloudbuild.yaml", "src/main.rs", "tests/it/main.rs", "testkit/Cargo.toml",
          "docs/README.md", "terraform/main.tf", "third-party.sh", "release.sh", "deploy/qb", "LICENSE", ".env.example", "tests/fixtures/format-1/backups/2026-11-25T17-48-26Z/articles/collection.snapshot"]


def patterns():
    for line in (ROOT / ".gcloudignore").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            assert not line.startswith("!") and "**" not in line and "/" not in line.rstrip("/"), f".gcloudignore: this test does not know {line}"
            yield line.rstrip("/"), line.endswith("/")


def uploaded(path, rules):
    """A pattern without a slash matches at any depth; one that ends in a slash, folders only."""
    parts = path.split("/")
    return not any(
        fnmatch.fnmatchcase(part, pattern) and (not folders_only or i < len(parts) - 1)
        for i, part in enumerate(parts) for pattern, folders_only in rules)


def main():
    rules = list(patterns())
    there = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in (".git", "target")]
        there += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    goes = sorted(path for path in {*there, *PRIVATE} if uploaded(path, rules))
    if "-v" in sys.argv:
        print("\n".join(goes))
    assert not set(PRIVATE) & set(goes), f"gcloud would upload {sorted(set(PRIVATE) & set(goes))}"
    assert set(NEEDED) <= set(goes), f"gcloud would not upload {sorted(set(NEEDED) - set(goes))}"
    print(f"gcloud builds submit would upload {len(goes)} files, none of them private")


if __name__ == "__main__":
    main()
