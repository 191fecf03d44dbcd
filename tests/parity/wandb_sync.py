"""Reads offline run folders of W&B with the package wandb and prints what it found as JSON: every record of the log as its
message classes parse it, and what `wandb sync` uploads, to a server on this machine that stands in for W&B's.

Usage: wandb_sync.py FOLDER
"""
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768


def assert_known(message):
    """Every field of the message and of the messages in it is one that their definition has."""
    assert len(UnknownFieldSet(message)) == 0, f"an unknown field in {message}"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                assert_known(inner)


def records(path):
    """The records of a log, as LevelDB's format and W&B's header and checksum define them."""
    log = path.read_bytes()
    assert log[:7] == struct.pack("<4sHB", b":W&B", 0xBEE1, 0), log[:7]
    at, data = 7, b""
    while at < len(log):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
        checksum, length, kind = struct.unpack_from("<IHB", log, at)
        piece = log[at + 7:at + 7 + length]
        assert checksum == zlib.crc32(piece, zlib.crc32(bytes([kind]))), f"checksum at {at}"
        at += 7 + length
        data = piece if kind in (1, 2) else data + piece
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(data)
            assert record.WhichOneof("record_type"), "an unknown record"
            assert_known(record)
            yield MessageToDict(record, preserving_proto_field_name=True)


class Server(BaseHTTPRequestHandler):
    """Answers what `wandb sync` asks, and keeps what it sends."""

    upserts, streams = [], []

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({})

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        sent = json.loads(body or b"{}")
        if self.path.endswith("/file_stream"):
            self.streams.append(sent)
            return self.answer({"exitcode": None, "limits": {}})
        query, given = sent.get("query", ""), sent.get("variables", {})
        if os.environ.get("WANDB_SYNC_TRACE"):
            print(self.path, query[:300], json.dumps(given)[:300], file=sys.stderr)
        if "upsertBucket" in query:
            self.upserts.append(given)
            project = {"name": given.get("project"), "entity": {"name": given.get("entity") or "me"}}
            bucket = {"id": "aWQ=", "name": given.get("name"), "displayName": given.get("displayName"), "sweepName": None,
                      "description": None, "config": "{}", "project": project, "historyLineCount": 0}
            return self.answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})
        if "viewer" in query:
            viewer = {"id": "aWQ=", "entity": "me", "username": "me", "email": "", "admin": False, "flags": "{}",
                      "teams": {"edges": []}}
            return self.answer({"data": {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}}}})
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"http://{self.headers['Host']}/put"} for name in given.get("files", [])]
            made = {"runID": "aWQ=", "uploadHeaders": [], "files": files}
            return self.answer({"data": {"createRunFiles": made}})
        return self.answer({"data": {}})

    def log_message(self, *_):
        pass


def uploaded(folder):
    """What `wandb sync` sends of a run folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        # A key of the right form for the server above; nothing leaves this machine.
        environment = os.environ | {
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "0" * 40, "HOME": home,
            "WANDB_DIR": home, "WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": home, "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "wandb", "sync", str(folder)]
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=180)
    server.shutdown()
    lines = {}
    for stream in Server.streams:
        for name, part in stream.get("files", {}).items():
            known = lines.setdefault(name, {})
            known.update(enumerate(part["content"], part["offset"]))
    of_history = sorted(lines.get("wandb-history.jsonl", {}).items())
    assert [at for at, _ in of_history] == list(range(len(of_history))), "lines of the history"
    history = [json.loads(line) for _, line in of_history]
    return {
        "code": done.returncode, "text": done.stdout + done.stderr, "upserts": Server.upserts, "history": history,
        "summary": [json.loads(line) for line in lines.get("wandb-summary.json", {}).values()],
        "complete": [stream["exitcode"] for stream in Server.streams if stream.get("complete")],
    }


folder = Path(sys.argv[1])
[log] = folder.glob("*.wandb")
print(json.dumps({"records": list(records(log)), "sync": uploaded(folder)}))
