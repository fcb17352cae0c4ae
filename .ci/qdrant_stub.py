"""A Qdrant with nothing in it, as far as `qdrant-backup check` looks: for the smoke test of the image (smoke.sh)."""
import http.server
import json
import sys

RESULTS = {"/collections": {"collections": []}, "/aliases": {"aliases": []}, "/cluster": {"status": "disabled"}}


class Qdrant(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            status, answer = 200, {"title": "qdrant - vector search engine", "version": "1.18.3", "commit": "0"}
        elif path in RESULTS:
            status, answer = 200, {"result": RESULTS[path], "status": "ok", "time": 0.0}
        else:
            status, answer = 404, {"status": {"error": "not found"}, "time": 0.0}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Qdrant).serve_forever()
