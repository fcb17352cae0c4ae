"""A fault for each thing that a rule says, planted into rendered manifests: the rule has to see it, or it holds nothing."""

import copy


def cron(resources, name="qdrant-backup"):
    return next(r for r in resources if r["kind"] == "CronJob" and r["metadata"]["name"] == name)["spec"]


def job(resources, name="qdrant-backup"):
    return cron(resources, name)["jobTemplate"]["spec"]


def pod(resources, name="qdrant-backup"):
    return job(resources, name)["template"]["spec"]


def main(resources, name="qdrant-backup"):
    return pod(resources, name)["containers"][0]


def one(resources, kind, name="qdrant-backup"):
    return next(r for r in resources if r["kind"] == kind and r["metadata"]["name"].startswith(name))


def serve(resources):
    return one(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def put(where, key, value):
    where[key] = value


def extra(resources, kind, api="v1", **more):
    resources.append({"apiVersion": api, "kind": kind, "metadata": {"name": "extra", "namespace": "qdrant"}, **more})


# What is done, and how the problem begins that has to follow.
FAULTS = [
    (lambda r: put(job(r), "backofLimit", 1), "schema"),
    (lambda r: put(cron(r), "concurrencyPolicy", 1), "schema"),
    (lambda r: pod(r).pop("automountServiceAccountToken"), "hardening: qdrant-backup: no token"),
    (lambda r: pod(r).pop("enableServiceLinks"), "hardening: qdrant-backup: no service links"),
    (lambda r: put(pod(r)["securityContext"], "runAsUser", 0), "hardening: qdrant-backup: no root"),
    (lambda r: put(pod(r)["securityContext"], "seccompProfile", {"type": "Unconfined"}), "hardening: qdrant-backup: seccomp"),
    (lambda r: put(pod(r), "hostNetwork", True), "hardening: qdrant-backup: no host"),
    (lambda r: pod(r)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "hardening: qdrant-backup: volumes that"),
    (lambda r: put(pod(r), "terminationGracePeriodSeconds", 30), "hardening: qdrant-backup: time to end"),
    (lambda r: put(main(r)["securityContext"], "readOnlyRootFilesystem", False), "hardening: qdrant-backup: qdrant-backup: read-only"),
    (lambda r: main(r)["securityContext"].pop("allowPrivilegeEscalation"), "hardening: qdrant-backup: qdrant-backup: no escalation"),
    (
        lambda r: pod(r, "qdrant-backup-drill")["initContainers"][0]["securityContext"].pop("capabilities"),
        "hardening: qdrant-backup-drill: qdrant: no capabilities",
    ),
    (lambda r: main(r)["resources"]["requests"].pop("memory"), "hardening: qdrant-backup: qdrant-backup: requests"),
    (lambda r: main(r)["resources"].pop("limits"), "hardening: qdrant-backup: qdrant-backup: memory limit"),
    (lambda r: extra(r, "Role", "rbac.authorization.k8s.io/v1", rules=[]), "rights: Role"),
    (lambda r: one(r, "ServiceAccount").pop("automountServiceAccountToken"), "rights: ServiceAccount"),
    (lambda r: extra(r, "PersistentVolumeClaim"), "kept: PersistentVolumeClaim"),
    (lambda r: put(one(r, "ConfigMap")["metadata"], "namespace", "other"), "references: not one namespace"),
    (lambda r: put(pod(r), "serviceAccountName", "other"), "references: qdrant-backup: no ServiceAccount other"),
    (lambda r: put(one(r, "ConfigMap")["metadata"], "name", "other"), "references: qdrant-backup: no ConfigMap"),
    (
        lambda r: put(pod(r)["volumes"][0], "persistentVolumeClaim", {"claimName": "other"}),
        "references: qdrant-backup: no PersistentVolumeClaim other",
    ),
    (lambda r: put(main(r)["volumeMounts"][0], "name", "other"), "references: qdrant-backup: no volume other"),
    (
        lambda r: pod(r)["volumes"].append({"name": "x", "secret": {"secretName": "other"}}),
        "references: qdrant-backup: no Secret other",
    ),
    (
        lambda r: pod(r)["volumes"].append({"name": "x", "secret": {"secretName": "untold", "optional": True}}),
        "references: qdrant-backup: the how-to does not tell of Secret untold",
    ),
    (lambda r: put(main(r), "image", "my-registry/qdrant-backup-api:other"), "images: not one image"),
    (lambda r: put(main(r), "image", "my-registry/qdrant-backup-api:latest"), "images: qdrant-backup: my-registry"),
    (lambda r: put(main(r), "image", "my-registry/qdrant-backup-api"), "images: qdrant-backup: my-registry"),
    (lambda r: put(one(r, "ConfigMap")["data"], "BACKUP_STOR", "x"), "settings: settings: the tool knows no BACKUP_STOR"),
    (lambda r: put(one(r, "ConfigMap")["data"], "QDRANT_API_KEY", "x"), "settings: settings: QDRANT_API_KEY is a secret"),
    (lambda r: put(main(r), "env", [{"name": "OTHER", "value": "x"}]), "settings: qdrant-backup: the tool knows no OTHER"),
    (lambda r: put(main(r), "volumeMounts", []), "settings: qdrant-backup: nothing is mounted at /backups"),
    (lambda r: put(one(r, "ConfigMap")["data"], "QDRANT_CA_FILE", "/ca"), "settings: qdrant-backup: nothing is mounted at /ca"),
    (lambda r: put(one(r, "ConfigMap")["data"], "BACKUP_STORE", "s3://x"), "settings: qdrant-backup: BACKUP_STORE"),
    (lambda r: main(r).pop("envFrom"), "settings: qdrant-backup: it has not the settings"),
    (lambda r: one(r, "ConfigMap")["data"].pop("BACKUP_SOURCE_NAME"), "settings: qdrant-backup: BACKUP_SOURCE_NAME"),
    (lambda r: put(serve(r), "env", [{"name": "AUTH_MODE", "value": "none"}]), "settings: qdrant-backup: without authentication"),
    (lambda r: one(r, "ConfigMap")["data"].pop("AUTH_AUDIENCE"), "settings: qdrant-backup: oidc"),
    (
        lambda r: [one(r, "ConfigMap")["data"].pop(name) for name in ("RETAIN_HOURLY", "RETAIN_DAILY")],
        "settings: qdrant-backup-prune: no rule",
    ),
    (lambda r: put(main(r), "args", ["bakcup"]), "commands: qdrant-backup: no command bakcup"),
    (lambda r: put(main(r), "args", ["backup", "--all"]), "commands: qdrant-backup: backup has no --all"),
    (lambda r: put(one(r, "CronJob")["metadata"], "name", "qdrant-backup" + 40 * "x"), "jobs: qdrant-backupx"),
    (lambda r: put(cron(r), "schedule", "@hourly"), "jobs: qdrant-backup: five fields"),
    (lambda r: cron(r).pop("timeZone"), "jobs: qdrant-backup: a zone"),
    (lambda r: put(cron(r), "concurrencyPolicy", "Replace"), "jobs: qdrant-backup: Forbid"),
    (lambda r: put(cron(r), "startingDeadlineSeconds", 5), "jobs: qdrant-backup: a deadline to start"),
    (lambda r: put(pod(r), "restartPolicy", "OnFailure"), "jobs: qdrant-backup: restartPolicy"),
    (lambda r: put(job(r), "podReplacementPolicy", "TerminatingOrFailed"), "jobs: qdrant-backup: a Pod only after"),
    (lambda r: job(r)["podFailurePolicy"]["rules"].pop(0), "jobs: qdrant-backup: a drained Pod"),
    (lambda r: put(job(r), "backoffLimit", 3), "jobs: qdrant-backup: retries that last longer"),
    (lambda r: put(job(r), "activeDeadlineSeconds", 600), "jobs: qdrant-backup: a deadline behind"),
    (
        lambda r: put(job(r)["podFailurePolicy"]["rules"][1]["onExitCodes"], "containerName", "x"),
        "jobs: qdrant-backup: exit codes of its own",
    ),
    (lambda r: put(job(r)["podFailurePolicy"]["rules"][1]["onExitCodes"], "values", [99]), "jobs: qdrant-backup: exit codes that are"),
    (lambda r: put(job(r)["podFailurePolicy"]["rules"][1]["onExitCodes"], "values", [5]), "jobs: qdrant-backup: retries of what passes"),
    (lambda r: put(one(r, "Service")["spec"], "selector", {"app": "x"}), "selectors: Service qdrant-backup: it selects no Pod"),
    (lambda r: put(one(r, "Service")["spec"]["ports"][0], "targetPort", "x"), "selectors: Service qdrant-backup: no port x"),
    (
        lambda r: one(r, "Deployment")["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
        "selectors: Deployment qdrant-backup: it selects Pods of others",
    ),
    (
        lambda r: put(one(r, "NetworkPolicy")["spec"]["podSelector"], "matchLabels", {"app.kubernetes.io/component": "verify"}),
        "network: qdrant-backup: not closed",
    ),
    (lambda r: one(r, "NetworkPolicy")["spec"]["egress"].append({}), "network: qdrant-backup: a rule opens every port"),
    (lambda r: one(r, "NetworkPolicy")["spec"]["egress"].pop(0), "network: qdrant-backup: it needs the ports [53"),
    (lambda r: put(one(r, "ConfigMap")["data"], "QDRANT_URL", "https://qdrant:443"), "network: qdrant-backup: it needs the ports [53, 443]"),
    (lambda r: put(one(r, "NetworkPolicy")["spec"], "ingress", [{"ports": [{"port": 8080}]}]), "network: qdrant-backup: who may reach"),
]


def endpoint(resources):
    return one(resources, "ServiceMonitor")["spec"]["endpoints"][0]


# The same of what is scraped.
SCRAPED = [
    (lambda r: put(serve(r), "env", [e for e in serve(r)["env"] if e["name"] != "AUTH_TOKEN_FILE"]), "settings: qdrant-backup: token needs"),
    (lambda r: serve(r)["volumeMounts"].remove(next(m for m in serve(r)["volumeMounts"] if m["name"] == "tokens")), "settings: qdrant-backup: nothing is mounted at /etc/qdrant-backup/tokens"),
    (lambda r: r.remove(one(r, "NetworkPolicy", "qdrant-backup-metrics")), "network: qdrant-backup: who may reach"),
    (lambda r: put(one(r, "ServiceMonitor"), "apiVersion", "monitoring.coreos.com/v2"), "monitors: ServiceMonitor qdrant-backup: another form"),
    (lambda r: put(endpoint(r), "bearerTokenSecret", {}), "monitors: ServiceMonitor qdrant-backup: another form of endpoint"),
    (lambda r: put(one(r, "Service")["metadata"], "labels", {}), "monitors: ServiceMonitor qdrant-backup: it selects 0"),
    (lambda r: put(endpoint(r), "port", "web"), "monitors: ServiceMonitor qdrant-backup: no port web"),
    (lambda r: put(endpoint(r), "path", "/"), "monitors: ServiceMonitor qdrant-backup: nothing to scrape"),
    (lambda r: put(endpoint(r)["authorization"]["credentials"], "key", "secret"), "monitors: ServiceMonitor qdrant-backup: the how-to"),
]


# The same of who is told.
TOLD = [
    (lambda r: r.remove(one(r, "NetworkPolicy", "qdrant-backup-notify")), "network: qdrant-backup: it needs the ports [53, 443"),
    (lambda r: one(r, "ConfigMap")["data"].pop("NOTIFY_URLS_FILE"), "network: qdrant-backup: it needs the ports [53, 6333]"),
    (lambda r: put(one(r, "ConfigMap")["data"], "NOTIFY_URLS", "https://hc-ping.com/x"), "settings: settings: NOTIFY_URLS is a secret"),
    (lambda r: put(main(r, "qdrant-backup-drill"), "volumeMounts", main(r, "qdrant-backup-drill")["volumeMounts"][:2]), "settings: qdrant-backup-drill: nothing is mounted at /etc/qdrant-backup/notify"),
    (
        lambda r: put(next(v for v in pod(r)["volumes"] if v["name"] == "notify")["secret"], "secretName", "untold"),
        "references: qdrant-backup: the how-to does not tell of Secret untold",
    ),
]


def unseen(rendered, beside, known, by_schema):
    """The faults that nothing has seen, by what should have been said."""
    import rules

    whole = lambda end: next(r for name, r in rendered.items() if name.startswith("directory") and name.endswith(end))
    faults = [(whole("serve-oidc"), *fault) for fault in FAULTS] + [(whole("metrics"), *fault) for fault in SCRAPED]
    faults += [(whole("notify and all"), *fault) for fault in TOLD]
    for original, plant, expected in faults:
        resources = copy.deepcopy(original)
        plant(resources)
        said = list(by_schema(resources)) if expected == "schema" else rules.problems(resources, beside, known)
        if not any(problem.startswith(expected) for problem in said):
            yield f"{expected}; instead: {said}"
