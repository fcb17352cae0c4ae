"""What holds for the manifests beyond Kubernetes' schemas. Each rule yields problems that begin with its name."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

OURS = "qdrant-backup"
# What Kubernetes adds to a failed Pod's wait: 10 s, doubled each time, at most six minutes.
FIRST_WAIT, LONGEST_WAIT = 10, 360
# In which a command ends after SIGTERM (docs/explanation/how-a-backup-is-made.md), and the service.
GRACE = {"Job": 30, "Deployment": 10}
# A name of a CronJob leaves room for the eleven characters that its Jobs add.
LONGEST_NAME = 52


@dataclass
class Known:
    """What the tool's own documents say."""

    variables: set
    commands: dict
    exit_codes: set
    lease: int
    how_to: str

    @classmethod
    def of(cls, root):
        read = lambda path: (root / path).read_text()
        pages = re.split(r"^## ", read("docs/reference/command-line.md"), flags=re.M)[1:]
        codes = read("docs/reference/errors.md").split("## Exit codes")[1].split("\n## ")[0]
        lease = re.search(r"^\| `BACKUP_LEASE_SECS` \|[^|]*\| `(\d+)`", read("docs/reference/configuration.md"), re.M)
        return cls(
            variables=set(re.findall(r"^(?:# )?([A-Z][A-Z_0-9]+)=", read(".env.example"), re.M)),
            commands={page.split("\n")[0]: set(re.findall(r"`(--[a-z-]+)", page)) for page in pages},
            exit_codes={int(code) for code in re.findall(r"^\| (\d+) \|", codes, re.M)},
            lease=int(lease[1]),
            how_to=read("docs/how-to/run-on-kubernetes.md"),
        )


def problems(resources, beside, known):
    world = World(resources, beside, known)
    return [f"{rule.__name__}: {problem}" for rule in RULES for problem in rule(world)]


class World:
    def __init__(self, resources, beside, known):
        self.all, self.known = resources, known
        self.there = {(resource["kind"], resource["metadata"]["name"]) for resource in resources + beside}
        self.settings = {}
        for resource in self.of("ConfigMap"):
            self.settings.update(resource.get("data", {}))
        self.pods = [pod for resource in resources for pod in pods(resource)]

    def of(self, kind):
        return [resource for resource in self.all if resource["kind"] == kind]

    def selected(self, selector):
        wanted = (selector or {}).get("matchLabels", selector or {}).items()
        return [pod for pod in self.pods if wanted <= pod.labels.items()]


@dataclass
class Pod:
    name: str
    kind: str
    labels: dict
    spec: dict

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    @property
    def ours(self):
        return next(container for container in self.spec["containers"] if container["name"] == OURS)

    @property
    def env(self):
        return {variable["name"]: variable.get("value") for variable in self.ours.get("env", [])}


def pods(resource):
    kind, spec = resource["kind"], resource.get("spec", {})
    if kind == "CronJob":
        kind, spec = "Job", spec["jobTemplate"]["spec"]
    if kind in GRACE:
        template = spec["template"]
        yield Pod(resource["metadata"]["name"], kind, template["metadata"]["labels"], template["spec"])


def hardening(world):
    """The Pod Security Standard "restricted", and some more."""
    for pod in world.pods:
        context = pod.spec.get("securityContext", {})
        wanted = {
            "no token": pod.spec.get("automountServiceAccountToken") is False,
            "no service links": pod.spec.get("enableServiceLinks") is False,
            "no root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0,
            "seccomp": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "no host": not any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
            "volumes that hold nothing of the host": all(
                volume.keys() & {"configMap", "secret", "persistentVolumeClaim", "emptyDir"} for volume in pod.spec.get("volumes", [])
            ),
            "time to end": pod.spec.get("terminationGracePeriodSeconds", 0) > GRACE[pod.kind],
        }
        for container in pod.containers:
            own, resources = container.get("securityContext", {}), container.get("resources", {})
            name = container["name"]
            wanted[f"{name}: read-only root"] = own.get("readOnlyRootFilesystem") is True
            wanted[f"{name}: no escalation"] = own.get("allowPrivilegeEscalation") is False and not own.get("privileged")
            wanted[f"{name}: no capabilities"] = own.get("capabilities") == {"drop": ["ALL"]}
            wanted[f"{name}: requests"] = {"cpu", "memory"} <= resources.get("requests", {}).keys()
            wanted[f"{name}: memory limit"] = "memory" in resources.get("limits", {})
        yield from (f"{pod.name}: {what}" for what, holds in wanted.items() if not holds)


def rights(world):
    for resource in world.all:
        if resource["apiVersion"].startswith("rbac."):
            yield f"{resource['kind']} {resource['metadata']['name']}: nothing here calls the Kubernetes API"
        if resource["kind"] == "ServiceAccount" and resource.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {resource['metadata']['name']}: its token is mounted"


def kept(world):
    for kind in ("PersistentVolumeClaim", "PersistentVolume", "Namespace"):
        yield from (f"{kind}: kubectl delete -k would delete the backups" for _ in world.of(kind))


def references(world):
    namespaces = {resource["metadata"].get("namespace") for resource in world.all}
    if len(namespaces) != 1 or None in namespaces:
        yield f"not one namespace: {namespaces}"
    for pod in world.pods:
        named = [("ServiceAccount", pod.spec.get("serviceAccountName"), False)]
        for volume in pod.spec.get("volumes", []):
            for key, kind, name in (
                ("secret", "Secret", "secretName"),
                ("configMap", "ConfigMap", "name"),
                ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
            ):
                if key in volume:
                    named.append((kind, volume[key][name], volume[key].get("optional", False)))
        for container in pod.containers:
            for source in container.get("envFrom", []):
                named.append(("ConfigMap", source["configMapRef"]["name"], False))
            volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{pod.name}: no volume {mount['name']}"
        for kind, name, is_optional in named:
            if (kind, name) not in world.there and not is_optional:
                yield f"{pod.name}: no {kind} {name}"
            # The user makes it.
            if is_optional and name not in world.known.how_to:
                yield f"{pod.name}: the how-to does not tell of {kind} {name}"


def images(world):
    used = {container["image"] for pod in world.pods for container in pod.containers if container["name"] == OURS}
    if len(used) != 1:
        yield f"not one image: {sorted(used)}"
    for pod in world.pods:
        for container in pod.containers:
            image = container["image"]
            is_named = re.search(r"/[^/]+(:[^:/]+|@sha256:[0-9a-f]{64})$", image)
            if not is_named or image.endswith(":latest"):
                yield f"{pod.name}: {image} is no image with a tag or digest"


def settings(world):
    for where, names in [("settings", world.settings)] + [(pod.name, pod.env) for pod in world.pods]:
        for name in names:
            if name not in world.known.variables:
                yield f"{where}: the tool knows no {name}"
            if re.search(r"(KEY|TOKEN|PASSWORD|SECRET|NOTIFY_URLS)$", name):
                yield f"{where}: {name} is a secret"
    for pod in world.pods:
        env = world.settings | pod.env
        mounts = [mount["mountPath"] for mount in pod.ours.get("volumeMounts", [])]
        paths = [value for name, value in env.items() if name.endswith("_FILE") and value]
        store = urlsplit(env.get("BACKUP_STORE", ""))
        if store.scheme == "file":
            paths.append(store.path)
        elif store.scheme != "gs" or not store.netloc:
            yield f"{pod.name}: BACKUP_STORE is neither a bucket nor a directory"
        for path in paths:
            if not any(path == mount or path.startswith(mount + "/") for mount in mounts):
                yield f"{pod.name}: nothing is mounted at {path}"
        if not any(source["configMapRef"]["name"].startswith(OURS) for source in pod.ours.get("envFrom", [])):
            yield f"{pod.name}: it has not the settings"
        if not env.get("BACKUP_SOURCE_NAME"):
            yield f"{pod.name}: BACKUP_SOURCE_NAME is not set"
        if env.get("AUTH_MODE") == "none" and not env.get("LISTEN", "").startswith("127.0.0.1:"):
            yield f"{pod.name}: without authentication it may listen on a loopback address only"
        if env.get("AUTH_MODE") == "oidc" and not (
            env.get("AUTH_AUDIENCE") and (env.get("AUTH_ADMINS") or env.get("AUTH_OPERATORS"))
        ):
            yield f"{pod.name}: oidc needs AUTH_AUDIENCE, and AUTH_ADMINS or AUTH_OPERATORS"
        if env.get("AUTH_MODE") == "token" and not env.get("AUTH_TOKEN_FILE"):
            yield f"{pod.name}: token needs AUTH_TOKEN_FILE"
        if pod.ours["args"][0] == "prune" and not any(name.startswith("RETAIN_") for name in env):
            yield f"{pod.name}: no rule says what to keep"


def commands(world):
    for pod in world.pods:
        command, *rest = pod.ours["args"]
        flags = world.known.commands.get(command)
        if flags is None:
            yield f"{pod.name}: no command {command}"
            continue
        yield from (f"{pod.name}: {command} has no {flag}" for flag in rest if flag.startswith("-") and flag not in flags)


def jobs(world):
    for resource in world.of("CronJob"):
        name, spec = resource["metadata"]["name"], resource["spec"]
        job = spec["jobTemplate"]["spec"]
        command = job["template"]["spec"]["containers"][0]["args"][0]
        waits = [min(FIRST_WAIT * 2**n, LONGEST_WAIT) for n in range(job["backoffLimit"])]
        rules = job["podFailurePolicy"]["rules"]
        codes = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
        wanted = {
            "a name with room for those of its Jobs": len(name) <= LONGEST_NAME,
            "five fields of a schedule": len(spec["schedule"].split()) == 5,
            "a zone for the schedule": "timeZone" in spec,
            "Forbid": spec["concurrencyPolicy"] == "Forbid",
            "a deadline to start, above the ten seconds between two looks": spec["startingDeadlineSeconds"] > 10,
            "restartPolicy Never, which a podFailurePolicy needs": job["template"]["spec"]["restartPolicy"] == "Never",
            "a Pod only after the last one has ended": job["podReplacementPolicy"] == "Failed",
            "a drained Pod that does not count": rules[0]
            == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            # Verify takes none.
            "retries that last longer than the lease": command == "verify" or sum(waits) > world.known.lease,
            "a deadline behind the last retry": job["activeDeadlineSeconds"] > sum(waits) + world.known.lease,
            "exit codes of its own container": all(code["containerName"] == OURS for code in codes),
            "exit codes that are failures of the tool": all(
                set(code["values"]) <= world.known.exit_codes - {0, 1} for code in codes
            ),
            # Another run has the lease, Qdrant or the store does not answer, SIGTERM: what the next try may not meet.
            "retries of what passes": not any({5, 6, 7, 10} & set(code["values"]) for code in codes),
        }
        yield from (f"{name}: {what}" for what, holds in wanted.items() if not holds)


def selectors(world):
    for resource in world.of("Deployment") + world.of("Service") + world.of("NetworkPolicy"):
        spec, name = resource["spec"], f"{resource['kind']} {resource['metadata']['name']}"
        found = world.selected(spec.get("selector") or spec.get("podSelector"))
        if not found:
            yield f"{name}: it selects no Pod"
        ports = {port["name"] for pod in found for port in pod.ours.get("ports", [])}
        named = [port["targetPort"] for port in spec.get("ports", [])]
        named += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"] if isinstance(port["port"], str)]
        yield from (f"{name}: no port {port}" for port in named if port not in ports)
        if resource["kind"] == "Deployment" and any(pod.kind != "Deployment" for pod in found):
            yield f"{name}: it selects Pods of others"


def network(world):
    for pod in world.pods:
        policies = [policy["spec"] for policy in world.of("NetworkPolicy") if pod in world.selected(policy["spec"]["podSelector"])]
        types = {kind for policy in policies for kind in policy["policyTypes"]}
        if types != {"Ingress", "Egress"}:
            yield f"{pod.name}: not closed in both directions"
        rules = [rule for policy in policies for rule in policy.get("egress", [])]
        if not all(rule.get("ports") for rule in rules):
            yield f"{pod.name}: a rule opens every port"
        env = world.settings | pod.env
        needed = {53, urlsplit(env["QDRANT_URL"]).port}
        needed |= {443} if env["BACKUP_STORE"].startswith("gs:") or env.get("AUTH_MODE") == "oidc" else set()
        needed |= {443} if env.get("NOTIFY_URLS_FILE") else set()
        needed |= {80, 988} if env["BACKUP_STORE"].startswith("gs:") else set()
        allowed = {port["port"] for rule in rules for port in rule.get("ports", [])}
        if needed != allowed:
            yield f"{pod.name}: it needs the ports {sorted(needed)} and may reach {sorted(allowed)}"
        incoming = [rule for policy in policies for rule in policy.get("ingress", [])]
        if bool(incoming) != (env.get("AUTH_MODE") in ("oidc", "token")):
            yield f"{pod.name}: who may reach it"


def monitors(world):
    """What the Prometheus operator reads of a ServiceMonitor, as far as it is used here."""
    for monitor in world.of("ServiceMonitor"):
        name, spec = f"ServiceMonitor {monitor['metadata']['name']}", monitor["spec"]
        if monitor["apiVersion"] != "monitoring.coreos.com/v1" or spec.keys() != {"selector", "endpoints"}:
            yield f"{name}: another form"
            continue
        wanted = spec["selector"]["matchLabels"].items()
        services = [service for service in world.of("Service") if wanted <= service["metadata"]["labels"].items()]
        if len(services) != 1:
            yield f"{name}: it selects {len(services)} Services"
        ports = {port["name"] for service in services for port in service["spec"]["ports"]}
        for endpoint in spec["endpoints"]:
            if endpoint.keys() != {"port", "path", "interval", "scrapeTimeout", "authorization"}:
                yield f"{name}: another form of endpoint"
                continue
            if endpoint["port"] not in ports:
                yield f"{name}: no port {endpoint['port']}"
            if endpoint["path"] != "/metrics":
                yield f"{name}: nothing to scrape at {endpoint['path']}"
            credentials = endpoint["authorization"]["credentials"]
            # The user makes it.
            if credentials["name"] not in world.known.how_to or f"--from-file={credentials['key']}" not in world.known.how_to:
                yield f"{name}: the how-to does not tell of Secret {credentials['name']} with {credentials['key']}"


RULES = [hardening, rights, kept, references, images, settings, commands, jobs, selectors, network, monitors]
