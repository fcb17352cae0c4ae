"""Runs run.sh with the real kubectl against an API server of a few requests, which has the rendered CronJob and plays the Job.

    python tests/run.py ROOT
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

NAMESPACE = "/apis/batch/v1/namespaces/qdrant"
PODS = "/api/v1/namespaces/qdrant/pods"
# What `kubectl create` asks for before it leaves the check of the fields to the server.
FIELD_VALIDATION = {
    "openapi": "3.0.0",
    "paths": {
        f"{NAMESPACE.replace('qdrant', '{namespace}')}/jobs/{{name}}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "x-kubernetes-group-version-kind": {"group": "batch", "version": "v1", "kind": "Job"},
            }
        }
    },
}


class World:
    """A CronJob, the Jobs that were made, and how the Pod of each ends."""

    def __init__(self, cron_job, exit_code):
        self.cron_job, self.exit_code, self.jobs, self.asked = cron_job, exit_code, {}, 0

    def answer(self, path, query):
        kinds = {"jobs": "Job", "cronjobs": "CronJob", "pods": "Pod"}
        resources = lambda *names: [{"name": n, "kind": kinds[n], "namespaced": True, "verbs": ["get", "list", "create"]} for n in names]
        name = path.rsplit("/", 1)[-1]
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            version = {"groupVersion": "batch/v1", "version": "v1"}
            return {"kind": "APIGroupList", "groups": [{"name": "batch", "versions": [version], "preferredVersion": version}]}
        if path == "/api/v1":
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources("pods")}
        if path == "/apis/batch/v1":
            return {"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": resources("jobs", "cronjobs")}
        if path == "/openapi/v3":
            return {"paths": {"apis/batch/v1": {"serverRelativeURL": "/openapi/v3/apis/batch/v1"}}}
        if path == "/openapi/v3/apis/batch/v1":
            return FIELD_VALIDATION
        if path == f"{NAMESPACE}/cronjobs/qdrant-backup":
            return self.cron_job
        if path.startswith(f"{NAMESPACE}/jobs/") and name in self.jobs:
            job = self.jobs[name]
            labels = {"batch.kubernetes.io/job-name": name}
            ended = {"conditions": [{"type": "Failed", "status": "True"}]} if self.exit_code and self.asked > 2 else {}
            ended = ended or ({"conditions": [{"type": "Complete", "status": "True"}]} if self.asked > 2 else {})
            return job | {"status": ended, "spec": job["spec"] | {"selector": {"matchLabels": labels}}}
        if path == PODS:
            selected = query["labelSelector"][0].partition("=")[2]
            return {"kind": "PodList", "apiVersion": "v1", "items": [self.pod(selected)] if selected in self.jobs else []}
        if path == f"{PODS}/it":
            return self.pod(next(iter(self.jobs)))
        return None

    def pod(self, job):
        self.asked += 1
        phase = ["Pending", "Running"][min(self.asked, 2) - 1] if self.asked <= 2 else "Failed" if self.exit_code else "Succeeded"
        state = {"terminated": {"exitCode": self.exit_code}} if self.asked > 2 else {"waiting": {}}
        meta = {"name": "it", "namespace": "qdrant", "labels": {"batch.kubernetes.io/job-name": job}}
        spec = self.jobs[job]["spec"]["template"]["spec"]
        status = {"phase": phase, "containerStatuses": [{"name": "qdrant-backup", "state": state}]}
        return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": status}


def serve(world):
    class Handler(BaseHTTPRequestHandler):
        def say(self, status, body, kind="application/json"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == f"{PODS}/it/log":
                return self.say(200, b"what the command says\n", "text/plain")
            answer = world.answer(url.path, parse_qs(url.query))
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self.say(404 if answer is None else 200, json.dumps(answer or missing).encode())

        def do_POST(self):
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            world.jobs[job["metadata"]["name"]] = job
            self.say(201, json.dumps(job).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(root, cron_job, exit_code, *args):
    """Exit code, output and the Job that was made."""
    world = World(cron_job, exit_code)
    server = serve(world)
    with tempfile.TemporaryDirectory() as home:
        cluster = {"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        context = {"name": "it", "context": {"cluster": "it", "user": ""}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "current-context": "it"}
        (Path(home) / "config").write_text(yaml.safe_dump(config))
        env = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": f"{home}/config"}
        script = root / "deploy/kubernetes/run.sh"
        done = subprocess.run([script, *args], env=env, capture_output=True, text=True, timeout=120)
    server.shutdown()
    return done, list(world.jobs.values())


def main(root):
    rendered = subprocess.run(["kubectl", "kustomize", root / "deploy/kubernetes/directory"], capture_output=True, text=True, check=True)
    resources = list(yaml.safe_load_all(rendered.stdout))
    cron_job = next(r for r in resources if r["kind"] == "CronJob" and r["metadata"]["name"] == "qdrant-backup")
    cron_job["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    pod = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    args = ["restore", "latest", 'a "quoted" \\ name', "--into", "{}-copy", "--dry-run"]
    for exit_code in (0, 11):
        done, jobs = run(root, cron_job, exit_code, *args)
        assert done.returncode == exit_code, done
        assert done.stdout == "what the command says\n", done
        assert len(jobs) == 1, jobs
        job, = jobs
        kubernetes_validate.validate({**job, "status": {}}, kubernetes_validate.latest_version(), strict=True)
        spec = job["spec"]
        made = spec["template"]["spec"]
        container = made["containers"][0]
        assert container["args"] == args, container
        # All else is as for the backup: image, settings, key, volumes, hardening.
        assert container | {"args": ["backup"]} == pod["containers"][0], container
        assert made | {"containers": pod["containers"]} == pod, made
        # Tried once, however long it takes; its own, so that no history limit of the CronJob deletes it.
        assert spec["backoffLimit"] == 0 and "activeDeadlineSeconds" not in spec and "podFailurePolicy" not in spec, spec
        assert "ownerReferences" not in job["metadata"] and spec["ttlSecondsAfterFinished"] > 0, job
    done, jobs = run(root, cron_job, 0)
    assert done.returncode == 2 and not jobs and "run.sh check --deep" in done.stderr, done
    print("run.sh: one Job as the backup's, its output and its exit code")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
