"""Applies the module, plans again, changes, imports and destroys, on an API that remembers (world.py).

    run.py MODULE      a folder with the module in it, initialised, for one version of the provider

Each case has a world and a state of its own, beside the module. Terraform is the one on the PATH; TF_CLI_CONFIG_FILE names the stand-in.
"""
import json, os, pathlib, re, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).parent
MODULE = pathlib.Path(sys.argv[1]).resolve()
PROJECT = "demo-project"
LONGEST = "a-project-with-thirty-letters1"
TROUBLESHOOT = HERE.parents[2] / "docs/how-to/troubleshoot.md"


class Case:
    """One root module with its state and its world."""

    def __init__(self, name, root=MODULE):
        self.root, self.folder = root, pathlib.Path(tempfile.mkdtemp(prefix="life-" + name + "-", dir=MODULE.parent))
        self.file, self.state = self.folder / "world.json", self.folder / "state"
        self.environment = {}
        self.write({"objects": {}, "calls": []})

    def read(self):
        return json.loads(self.file.read_text())

    def write(self, world):
        self.file.write_text(json.dumps(world))

    def exists(self, kind, **attributes):
        """There is one already, which Terraform does not know."""
        world = self.read()
        world["objects"].setdefault(kind, {})[attributes["id"]] = attributes
        self.write(world)

    def objects(self, kind):
        return list(self.read()["objects"].get(kind, {}).values())

    def calls(self, *verbs):
        return [call for call in self.read()["calls"] if call[0] in verbs]

    def terraform(self, command, *arguments, **variables):
        """The exit code, what it said, and the changes that it planned: address -> action."""
        options = [f"-state={self.state}", "-no-color", "-input=false"]
        if command != "import":
            options.append("-json")
        given = [f"-var={k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in variables.items() if v is not None]
        done = subprocess.run(["terraform", command, *options, *given, *arguments], cwd=self.root, text=True, capture_output=True,
                              env=os.environ | {"LIFE_WORLD": str(self.file), "GOOGLE_PROJECT": PROJECT if self.root == MODULE else LONGEST} | self.environment)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        changes = {e["change"]["resource"]["addr"]: e["change"]["action"] for e in events if e["type"] == "planned_change"}
        text = done.stderr + "\n".join(
            e["@message"] + "\n" + e.get("diagnostic", {}).get("detail", "") for e in events if e["@level"] == "error")
        return done.returncode, text if events else done.stdout + done.stderr, changes

    def does(self, command, *arguments, **variables):
        code, text, changes = self.terraform(command, *arguments, **variables)
        assert code in (0, 2), f"{command} {' '.join(arguments)} ended with {code}:\n{text}"
        return changes

    def applies(self, **variables):
        return self.does("apply", "-auto-approve", **variables)

    def plans_nothing(self, **variables):
        changes = self.does("plan", **variables)
        assert not changes, f"a plan after an apply changes {changes}"

    def addresses(self):
        resources = json.loads(self.state.read_text())["resources"]
        return sorted(f"{r.get('module', '')} {r['type']}.{r['name']} {i.get('index_key', '')}" for r in resources if r["mode"] == "managed" for i in r["instances"])


BASE = {"project_id": PROJECT, "qdrant_url": "http://10.140.0.5:6333"}
# Everything that the module can make.
ALL = BASE | {
    "prune": True, "retention": {"hourly": 48}, "data_access_logs": True,
    "vault": {"retention_days": 7, "location": "asia-northeast1"},
    "kms_keys": {use: f"projects/p/locations/{place}/keyRings/r/cryptoKeys/k" for use, place in (("region", "asia-east1"), ("vault", "asia-northeast1"))},
    "secret_environment": {"DRILL_QDRANT_API_KEY": "drill-key"},
    "alerts": {"emails": ["a@example.com", "b@example.com"]},
    "access": {"invoker_members": ["group:ops@example.com"], "restore_members": ["group:dba@example.com"]},
}
UNPROTECTED = {"deletion_protection": False}


def gcloud_deploys(case):
    """What `gcloud run services update` and `jobs update` leave behind (and the console, which names containers)."""
    world = case.read()
    for service in world["objects"]["google_cloud_run_v2_service"].values():
        service |= {"client": "gcloud", "client_version": "500.0.0"}
        template = service["template"][0]
        template["labels"] = (template["labels"] or {}) | {"client.knative.dev/nonce": "abcdefghij"}
        template["revision"] = service["name"] + "-00002-xyz"
        template["containers"][0] |= {"image": "x@sha256:0", "name": "qdrant-backup-api-1"}
    for job in world["objects"]["google_cloud_run_v2_job"].values():
        job |= {"client": "gcloud", "client_version": "500.0.0"}
        template = job["template"][0]
        template["labels"] = (template["labels"] or {}) | {"client.knative.dev/nonce": "abcdefghij"}
        template["template"][0]["containers"][0] |= {"image": "x@sha256:0", "name": "qdrant-backup-api-1"}
    case.write(world)


def every_alert_has_its_section(policies):
    headings = [line.lstrip("# ").lower().replace(" ", "-") for line in TROUBLESHOOT.read_text().splitlines() if line.startswith("### ")]
    named = [policy["documentation"][0]["content"].rsplit("docs/how-to/troubleshoot.md#", 1)[-1] for policy in policies]
    assert sorted(named) == sorted(headings), f"alerts name {sorted(named)}, and there are sections {sorted(headings)}"


def a_second_plan_is_empty_and_a_refused_destroy_destroys_nothing():
    case = Case("whole")
    case.applies(**ALL)
    case.plans_nothing(**ALL)
    gcloud_deploys(case)
    case.plans_nothing(**ALL)

    every_alert_has_its_section(case.objects("google_monitoring_alert_policy"))

    before = case.addresses()
    code, text, _ = case.terraform("destroy", "-auto-approve", **ALL)
    assert code == 1 and "deletion_protection" in text, text
    assert case.addresses() == before and not case.calls("delete"), f"destroyed before it refused: {case.calls('delete')}"

    # One address less, another way to Qdrant, and back.
    less = ALL | {"alerts": {"emails": ["b@example.com"]}, "network": {"mode": "direct"}}
    case.applies(**less)
    case.plans_nothing(**less)
    assert len(case.read()["objects"]["google_monitoring_notification_channel"]) == 1
    assert not case.read()["objects"]["google_vpc_access_connector"]
    case.applies(**ALL)
    case.plans_nothing(**ALL)

    case.applies(**ALL | UNPROTECTED)
    case.does("destroy", "-auto-approve", **ALL | UNPROTECTED)
    left = {kind: there for kind, there in case.read()["objects"].items() if there}
    assert not left and not case.addresses(), left


# As the older system has made them (docs/how-to/migrate-from-the-vm-api.md).
OLDER = {
    "google_artifact_registry_repository": {
        "address": "google_artifact_registry_repository.images", "id": f"projects/{PROJECT}/locations/asia-east1/repositories/qdrant",
        "repository_id": "qdrant", "location": "asia-east1", "format": "DOCKER", "mode": "STANDARD_REPOSITORY", "name": "qdrant",
    },
    "google_cloud_scheduler_job": {
        "address": "google_cloud_scheduler_job.backup", "id": f"projects/{PROJECT}/locations/asia-east1/jobs/qdrant-backup-hourly",
        "name": "qdrant-backup-hourly", "region": "asia-east1", "schedule": "0 * * * *", "time_zone": "Asia/Taipei", "attempt_deadline": "180s",
        "state": "ENABLED", "http_target": [{"uri": "https://asia-east1-demo-project.cloudfunctions.net/qdrant-backup-trigger", "http_method": "POST"}],
    },
}


def what_the_older_system_made_is_imported_and_changed_in_place():
    case = Case("older")
    for kind, older in OLDER.items():
        case.exists(kind, project=PROJECT, **{k: v for k, v in older.items() if k != "address"})
    direct = BASE | {"network": {"mode": "direct"}}
    for older in OLDER.values():
        case.does("import", older["address"], older["id"], **direct)

    paused = direct | {"schedule": {"paused": True}}
    changes = case.does("plan", **paused)
    assert all(changes[older["address"]] == "update" for older in OLDER.values()), changes
    assert set(changes.values()) == {"create", "update"}, changes
    case.applies(**paused)
    case.plans_nothing(**paused)
    [job] = [job for job in case.objects("google_cloud_scheduler_job") if job["name"] == "qdrant-backup-hourly"]
    assert job["paused"] and job["http_target"][0]["uri"].endswith("run.app/backup"), job

    case.applies(**direct | UNPROTECTED)
    assert not case.calls("delete"), case.calls("delete")
    case.does("destroy", "-auto-approve", **direct | UNPROTECTED)
    assert not case.addresses()


# Fails as often as there are lines in the file `refuse`, and writes down what it was called with.
GCLOUD = """#!/usr/bin/env bash
cd "$(dirname "$0")"
printf '%s ' "$@" >>calls
echo >>calls
[ -s refuse ] || exit 0
sed -i 1d refuse
exit 1
"""


def one_apply_builds_stores_the_key_and_makes_a_first_backup():
    case = Case("one")
    # As the file says that everybody begins with.
    changes = case.does("plan", f"-var-file={HERE.parents[1] / 'terraform.tfvars.example'}", qdrant_api_key="not-a-key")
    asked_for = {"terraform_data.image[0]", "terraform_data.first_backup[0]", "google_secret_manager_secret_version.qdrant_api_key[0]"}
    assert asked_for <= set(changes), asked_for - set(changes)

    gcloud, refuse, calls = (case.folder / name for name in ("gcloud", "refuse", "calls"))
    gcloud.write_text(GCLOUD)
    gcloud.chmod(0o755)
    case.environment = {"PATH": f"{case.folder}:{os.environ['PATH']}", "PAUSE": "0"}
    # A grant that is not known everywhere yet, and a backup that fails.
    refuse.write_text("build\n")
    key = "a-key-that-is-nowhere"
    pool = f"projects/{PROJECT}/locations/asia-east1/workerPools/private"
    one = BASE | {
        "build": {"on_apply": True, "source": str(HERE.parents[2]), "worker_pool": pool},
        "schedule": {"first_backup": True}, "qdrant_api_key": key, "qdrant_api_key_version": 1,
    }
    case.applies(**one)
    built, again, backed_up = calls.read_text().splitlines()
    assert built.startswith("builds submit ") and built == again and f"--worker-pool={pool}" in built, built
    assert backed_up.startswith(f"run jobs execute qdrant-backup --project={PROJECT} --region=asia-east1 --wait"), backed_up
    case.plans_nothing(**one)
    assert key not in case.state.read_text() and key not in json.dumps(case.read()["objects"]), "the key is in the state"

    # Another key is another version, and nothing is built or backed up again.
    before = case.objects("google_secret_manager_secret_version")
    code, text, _ = case.terraform("plan", **one | {"qdrant_api_key": None})
    assert code == 1 and "TF_VAR_qdrant_api_key" in text, text
    changes = case.does("plan", **one | {"qdrant_api_key": "another", "qdrant_api_key_version": 2})
    assert list(changes) == ["google_secret_manager_secret_version.qdrant_api_key[0]"] and before, changes
    assert len(calls.read_text().splitlines()) == 3


def a_first_backup_that_fails_is_made_by_the_next_apply():
    case = Case("first")
    for name, text in (("gcloud", GCLOUD), ("refuse", "backup\n")):
        (case.folder / name).write_text(text)
        (case.folder / name).chmod(0o755)
    case.environment = {"PATH": f"{case.folder}:{os.environ['PATH']}"}
    first = BASE | {"schedule": {"first_backup": True}}
    code, text, _ = case.terraform("apply", "-auto-approve", **first)
    assert code == 1 and "gcloud run jobs execute" in text, text
    case.applies(**first)
    assert len((case.folder / "calls").read_text().splitlines()) == 2
    case.plans_nothing(**first)


TWO = f"""
module "first" {{
  source     = "{MODULE}"
  project_id = "{LONGEST}"
  qdrant_url = "http://10.140.0.5:6333"
}}

module "second" {{
  source       = "{MODULE}"
  project_id   = "{LONGEST}"
  qdrant_url   = "http://10.140.0.6:6333"
  service_name = "second-qdrant-backup"
  repository   = "qdrant-second"
  network      = {{ cidr = "10.9.0.0/28" }}
  vault        = {{ retention_days = 7 }}
}}
"""


def two_of_them_live_in_one_project_under_the_longest_names():
    root = pathlib.Path(tempfile.mkdtemp(prefix="life-two-", dir=MODULE.parent))
    (root / "main.tf").write_text(TWO)
    subprocess.run(["terraform", "init", "-input=false", "-backend=false", "-no-color"], cwd=root, check=True, capture_output=True)
    case = Case("two", root)
    case.applies()
    case.plans_nothing()


def what_organisation_policies_ask_for_is_applied_with_keys_of_its_own():
    root = MODULE / "examples/locked-down"
    subprocess.run(["terraform", "init", "-input=false", "-backend=false", "-no-color"], cwd=root, check=True, capture_output=True)
    case = Case("locked", root)
    # Made by whom the shared network belongs to.
    case.exists("google_compute_firewall", id="projects/corp-network/global/firewalls/qdrant", source_ranges=["10.30.0.0/26"])
    case.exists("google_compute_subnetwork", id="projects/corp-network/regions/europe-west3/subnetworks/backups",
                name="backups", network="corp", ip_cidr_range="10.30.0.0/26")
    given = {
        "project_id": PROJECT, "qdrant_api_key": "a-key-that-is-nowhere",
        "image": f"europe-west3-docker.pkg.dev/{PROJECT}/qdrant/qdrant-backup-api@sha256:{64 * '0'}",
        "build_worker_pool": "projects/corp-build/locations/europe-west3/workerPools/private",
    }
    case.applies(**given)
    case.plans_nothing(**given)
    state = case.state.read_text()
    assert given["qdrant_api_key"] not in state
    # What has a place is in the region of one of the two keys, and what takes a key has one.
    places = set(re.findall(r'"(?:location|region)": "([^"]*)"', state))
    assert {place.lower() for place in places} <= {"europe-west3", "europe-west4"}, places
    services = case.objects("google_cloud_run_v2_service") + [job["template"][0] for job in case.objects("google_cloud_run_v2_job")]
    keys = [one["template"][0]["encryption_key"] for one in services]
    keys += [bucket["encryption"][0]["default_kms_key_name"] for bucket in case.objects("google_storage_bucket")]
    assert len(keys) == 7 and all(keys), keys


def everything_waits_for_the_protection():
    made = {".".join(names) for file in MODULE.glob("*.tf") for names in re.findall(r'^resource "(.*)" "(.*)" {', file.read_text(), re.M)}
    waited_for = set(re.findall(r"^    ((?:google_|terraform_data\.).*),", (MODULE / "protection.tf").read_text(), re.M))
    assert made == waited_for | {"terraform_data.deletion_protection"}, f"protection.tf: {made ^ waited_for}"


def main():
    cases = [
        everything_waits_for_the_protection,
        a_second_plan_is_empty_and_a_refused_destroy_destroys_nothing,
        what_the_older_system_made_is_imported_and_changed_in_place,
        one_apply_builds_stores_the_key_and_makes_a_first_backup,
        a_first_backup_that_fails_is_made_by_the_next_apply,
        what_organisation_policies_ask_for_is_applied_with_keys_of_its_own,
        two_of_them_live_in_one_project_under_the_longest_names,
    ]
    if len(sys.argv) > 2:
        cases = [case for case in cases if sys.argv[2] in case.__name__]
    for case in cases:
        begun = time.monotonic()
        case()
        print(f"{case.__name__}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
