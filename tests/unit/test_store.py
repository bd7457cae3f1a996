"""How MLflow's store is opened."""

import http.server
import threading
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from lookalike.store import SETTINGS, settle


def test_files_go_through_a_server_that_offers_its_store_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with an S3 store does, which it may be the only machine to reach."""
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("?")[0])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"multipart_downloads_enabled": true}')

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    for name in SETTINGS:
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        settle(tmp_path)
        download_artifacts("mlflow-artifacts:/1/file.txt", dst_path=str(tmp_path))
        server.shutdown()
    files = "/api/2.0/mlflow-artifacts/artifacts"
    assert asked == ["/health", files, f"{files}/1/file.txt"]
