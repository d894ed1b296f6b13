"""What the recipes share: a few calls of the HTTP API, and a session that is kept alive.

Plain Python and nothing else, so that each recipe can be read as the list of requests it is."""

import base64
import http.client
import json
import threading
import uuid
from urllib.parse import quote


class Entry:
    """A key as it was read."""

    def __init__(self, row):
        self.key = row["Key"]
        self.value = base64.b64decode(row["Value"] or "").decode()
        self.session = row.get("Session")
        self.index = row["ModifyIndex"]


class Client:
    def __init__(self, address):
        self.address = address  # (host, port)

    def request(self, method, path, body=None, timeout=400):
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def put(self, key, value="", **params):
        """True: written. With acquire, the fencing index instead; 0: not granted."""
        query = "&".join("%s=%s" % pair for pair in params.items())
        status, headers, body = self.request("PUT", "/v1/kv/%s?%s" % (quote(key), query), value)
        if status != 200:
            raise RuntimeError(body.decode())
        if "acquire" in params:
            return int(headers.get("X-Cairn-Fencing-Index", 0))
        return json.loads(body)

    def delete(self, key, **params):
        query = "&".join("%s=%s" % pair for pair in params.items())
        status, _, body = self.request("DELETE", "/v1/kv/%s?%s" % (quote(key), query))
        return status == 200 and json.loads(body)

    def get(self, key, index=0, wait="300s"):
        """The entry or None, and the index to wait from."""
        entries, index = self._read(key, "consistent", index, wait)
        return (entries[0] if entries else None), index

    def list(self, prefix, index=0, wait="300s"):
        return self._read(prefix, "recurse&consistent", index, wait)

    def _read(self, key, query, index, wait):
        path = "/v1/kv/%s?%s" % (quote(key), query)
        if index:
            path += "&index=%d&wait=%s" % (index, wait)
        status, headers, body = self.request("GET", path)
        if status not in (200, 404):
            raise RuntimeError(body.decode())
        rows = json.loads(body) if status == 200 else []
        return [Entry(row) for row in rows], int(headers["X-Consul-Index"])

    def transact(self, *operations):
        """True: all of them happened. Each is (verb, key, fields)."""
        body = []
        for verb, key, fields in operations:
            operation = dict(fields, Verb=verb, Key=key)
            if "Value" in operation:
                operation["Value"] = base64.b64encode(operation["Value"].encode()).decode()
            body.append({"KV": operation})
        status, _, answer = self.request("PUT", "/v1/txn", json.dumps(body))
        if status not in (200, 409):
            raise RuntimeError(answer.decode())
        return status == 200


class Session:
    """Renewed at a third of its TTL, by a thread. `lost` is set when it has ended without us."""

    def __init__(self, client, ttl_s=10, behavior="release", renew=True):
        self.client = client
        self.ttl_s = ttl_s
        self.lost = threading.Event()
        self._closed = threading.Event()
        status, _, body = client.request("PUT", "/v1/session/create", json.dumps(
            {"TTL": "%ds" % ttl_s, "Behavior": behavior, "LockDelay": "0s"}))
        if status != 200:
            raise RuntimeError(body.decode())
        self.id = json.loads(body)["ID"]
        if renew:
            threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self):
        while not self._closed.wait(self.ttl_s / 3):
            try:
                status, _, _ = self.client.request("PUT", "/v1/session/renew/" + self.id)
            except OSError:
                continue
            if status == 404:
                self.lost.set()
                return

    def close(self):
        self._closed.set()
        self.client.request("PUT", "/v1/session/destroy/" + self.id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def unique_name():
    return uuid.uuid4().hex


def ordered(entries):
    """Those who stand in a line, first come first: by the index that made them acquire."""
    return sorted(entries, key=lambda entry: entry.index)
