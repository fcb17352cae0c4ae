"""The offline stand-in for the provider, with an API behind it that remembers, fills in and refuses.

    world.py SCHEMA.json RULES.json FACTS.json CERT.pem KEY.pem      in place of the stand-in's provider.py, beside it

Without LIFE_WORLD in the environment it is the stand-in as it is. With it, what was created is in the JSON file of that
name, and is read back from there as Google's API would tell it; each write is a line of that file's "calls".
"""
import contextlib, fcntl, ipaddress, json, os, re

import provider
from wire import dump_value, load_value

# Identifiers of types that the stand-in's own facts do not have.
IDS = {
    "google_monitoring_uptime_check_config": {"uptime_check_id": "{random}", "name": "projects/{project}/uptimeCheckConfigs/{uptime_check_id}", "id": "{name}"},
    "google_project_iam_audit_config": {"id": "{project}/audit_config/{service}"},
    "google_storage_transfer_job": {"name": "transferJobs/{random}", "id": "{project}/{name}"},
    "data.google_storage_transfer_project_service_account": {"email": "project-{project_number}@storage-transfer-service.iam.gserviceaccount.com", "id": "{email}"},
}
# Known to the provider only: no API tells them.
OWN = ("deletion_policy", "deletion_protection", "force_delete", "force_destroy", "disable_on_destroy", "terraform_labels", "labels")
# To ask for it twice is no mistake.
REPEATABLE = ("google_project_service",)


class Refused(Exception):
    pass


@contextlib.contextmanager
def world():
    """What there is: {"objects": {type: {id: object}}, "calls": [...]}; changes are kept, unless refused."""
    with open(os.environ["LIFE_WORLD"], "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = json.load(file)
        yield content
        file.seek(0)
        file.truncate()
        json.dump(content, file)


# --- what the API has of what it was given

def without_zeros(value):
    """As the API answers JSON: no zeros, no empty lists."""
    if isinstance(value, dict):
        return {k: v for k, v in ((k, without_zeros(v)) for k, v in value.items()) if v not in (0, [])}
    return [without_zeros(item) for item in value] if isinstance(value, list) else value


def filled_in(kind, new):
    """What is kept of an object, with what the API adds by itself."""
    if kind == "google_monitoring_dashboard":
        board = without_zeros(json.loads(new["dashboard_json"]))
        new["dashboard_json"] = json.dumps(board | {"etag": "1", "name": new["id"]})
    if kind == "google_cloud_run_v2_service" and not new["scaling"]:
        new["scaling"] = [{"manual_instance_count": 0, "max_instance_count": 0, "min_instance_count": 0, "scaling_mode": ""}]
    return new


def shared(old, new):
    """`old` without the keys that `new` does not have: the provider compares dashboards so."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {k: shared(v, new[k]) for k, v in old.items() if k in new}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [shared(*pair) for pair in zip(old, new)]
    return old


# --- what the API refuses

def last(path):
    return path.rstrip("/").split("/")[-1] if isinstance(path, str) else path


def networks(objects):
    """The ways into the VPC that services and jobs use at this moment."""
    for kind, inner in (("google_cloud_run_v2_service", "template.vpc_access"), ("google_cloud_run_v2_job", "template.template.vpc_access")):
        for name, user in objects.get(kind, {}).items():
            for access in provider.find(user, inner):
                for one in access or []:
                    yield name, last(one["connector"]), [last(i["subnetwork"]) for i in one["network_interfaces"]]


def check_open(objects):
    """Whoever calls from a subnet gets through the firewall. (A connector always does.)"""
    subnets = {subnet["name"]: subnet["ip_cidr_range"] for subnet in objects.get("google_compute_subnetwork", {}).values()}
    opened = {source for rule in objects.get("google_compute_firewall", {}).values() for source in rule["source_ranges"]}
    for user, _, used in networks(objects):
        for subnet in used:
            if subnet in subnets and subnets[subnet] not in opened:
                raise Refused(f"{user} calls from {subnet}, and the firewall does not let it through")


def check_name(kind, new):
    """Names as the APIs count them, which the provider does not."""
    rules = {
        "google_service_account": ("account_id", r"[a-z][-a-z0-9]{4,28}[a-z0-9]"),
        "google_storage_bucket": ("name", r"(?!goog)(?!.*google)[a-z0-9][-_a-z0-9]{1,61}[a-z0-9]|(?=.{3,222}$)[-_a-z0-9]{1,63}(\.[-_a-z0-9]{1,63})+"),
        "google_cloud_run_v2_service": ("name", r"[a-z][-a-z0-9]{0,47}[a-z0-9]"),
        "google_cloud_run_v2_job": ("name", r"[a-z][-a-z0-9]{0,47}[a-z0-9]"),
        "google_secret_manager_secret": ("secret_id", r"[-_a-zA-Z0-9]{1,255}"),
        "google_artifact_registry_repository": ("repository_id", r"[a-z][-a-z0-9]{0,61}[a-z0-9]"),
        "google_cloud_scheduler_job": ("name", r"[-_a-zA-Z0-9]{1,500}"),
        "google_compute_firewall": ("name", r"[a-z][-a-z0-9]{0,61}[a-z0-9]"),
        "google_compute_subnetwork": ("name", r"[a-z][-a-z0-9]{0,61}[a-z0-9]"),
        # Fewer than 21 characters, of which a hyphen is two.
        "google_vpc_access_connector": ("name", r"[a-z][a-z0-9-]{0,23}[a-z0-9]"),
    }
    if kind in rules:
        attribute, pattern = rules[kind]
        name = new[attribute]
        counted = len(name) + name.count("-") if kind == "google_vpc_access_connector" else 0
        if not re.fullmatch(pattern, name) or counted > 20:
            raise Refused(f"Error 400: {kind}: the name {name} is invalid")


def overlap(one, other):
    return ipaddress.ip_network(one).overlaps(ipaddress.ip_network(other))


def check_write(objects, kind, new, is_new):
    if is_new:
        check_name(kind, new)
        if new["id"] in objects.get(kind, {}) and kind not in REPEATABLE:
            raise Refused(f"Error 409: {kind} {new['id']} already exists")
        if range_of := new.get("ip_cidr_range"):
            for other in ("google_vpc_access_connector", "google_compute_subnetwork"):
                for there in objects.get(other, {}).values():
                    if there["network"] == new["network"] and overlap(there["ip_cidr_range"], range_of):
                        raise Refused(f"Error 400: {kind} {new['id']}: {range_of} overlaps with {there['id']}")
    if kind in ("google_storage_bucket", "google_artifact_registry_repository"):
        keys = [new["kms_key_name"]] if "kms_key_name" in new else provider.find(new, "encryption.default_kms_key_name")
        for key in filter(None, keys):
            if key.split("/")[3].lower() != new["location"].lower():
                raise Refused(f"Error 400: {kind} {new['id']}: the key is in {key.split('/')[3]}, and this in {new['location']}")
    if kind.startswith("google_cloud_run_v2_") and kind.endswith(("service", "job")):
        for _, connector, subnets in networks({kind: {new["id"]: new}}):
            for there, wanted in (("google_vpc_access_connector", [connector]), ("google_compute_subnetwork", subnets)):
                for one in filter(None, wanted):
                    if one not in map(last, objects.get(there, {})):
                        raise Refused(f"Error 400: {new['id']}: there is no {there} {one}")


def check_delete(objects, kind, old):
    name = last(old["id"])
    for user, connector, subnets in networks(objects):
        if kind == "google_vpc_access_connector" and connector == name or kind == "google_compute_subnetwork" and name in subnets:
            raise Refused(f"Error 400: {old['id']} is used by {user}")
    if kind == "google_monitoring_notification_channel" and not old["force_delete"]:
        for policy in objects.get("google_monitoring_alert_policy", {}).values():
            if old["name"] in (policy["notification_channels"] or []):
                raise Refused(f"Error 400: {old['id']} is used by {policy['display_name']}")


def conform(block, value):
    """An object that names only some of its attributes, with all of them."""
    nested = block.get("block_types", {}).items()
    return {name: value.get(name) for name in block.get("attributes", {})} | {
        name: [conform(inner["block"], item) for item in value.get(name, [])] if inner["nesting_mode"] != "single" else None for name, inner in nested}


class World(provider.Provider):
    def __init__(self, *files):
        super().__init__(*files)
        for name, computed in IDS.items():
            self.facts[name] = self.facts.get(name, {}) | {"computed": computed}

    def PlanResourceChange(self, request):
        answer = super().PlanResourceChange(request)
        prior, planned = load_value(request.get("prior_state")), load_value(answer["planned_state"])
        if request["type_name"] == "google_monitoring_dashboard" and prior and planned and provider.known(planned["dashboard_json"]):
            new = json.loads(planned["dashboard_json"])
            if shared(json.loads(prior["dashboard_json"]), new) == new:
                answer["planned_state"] = dump_value(planned | {"dashboard_json": prior["dashboard_json"]})
        return answer

    def ApplyResourceChange(self, request):
        answer = super().ApplyResourceChange(request)
        if answer.get("diagnostics"):
            return answer
        kind, prior, new = request["type_name"], load_value(request.get("prior_state")), load_value(answer["new_state"])
        if prior is None and new.get("condition"):
            new["id"] += "/" + new["condition"][0]["title"]  # a grant is told from another one by its condition, too
        try:
            with world() as content:
                objects = content["objects"]
                if new is None:
                    check_delete(objects, kind, prior)
                    objects.get(kind, {}).pop(prior["id"], None)
                else:
                    check_write(objects, kind, new, prior is None)
                    objects.setdefault(kind, {})[new["id"]] = filled_in(kind, new)
                check_open(objects)
                verb = "delete" if new is None else "update" if prior else "create"
                content["calls"].append([verb, kind, (new or prior)["id"]])
        except Refused as problem:
            return answer | {"new_state": dump_value(prior), "diagnostics": [provider.error(str(problem))]}
        return answer | {"new_state": dump_value(new)}

    def read(self, kind, identifier):
        with world() as content:
            return content["objects"].get(kind, {}).get(identifier)

    def ReadResource(self, request):
        state = load_value(request["current_state"])
        there = self.read(request["type_name"], state["id"])
        block, _ = self.block(request["type_name"])
        new = there and conform(block, there) | {k: state[k] for k in OWN if k in state}
        return {"new_state": dump_value(new), "private": request.get("private")}

    def ImportResourceState(self, request):
        answer = super().ImportResourceState(request)
        for imported in answer["imported_resources"]:
            there = self.read(imported["type_name"], request["id"])
            if there is None:
                return {"diagnostics": [provider.error("Cannot import non-existent remote object", request["id"])]}
            block, _ = self.block(imported["type_name"])
            imported["state"] = dump_value({k: None if k in ("labels", "terraform_labels") else v for k, v in conform(block, there).items()})
        return answer


if __name__ == "__main__":
    import sys

    if "LIFE_WORLD" in os.environ:
        provider.Provider = World
    provider.main(*sys.argv[1:])
