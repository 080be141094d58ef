"""Sends a code and verifies it over the JSON API, every request signed.

The message that is signed holds `json.dumps(body, sort_keys=True)`, while the body that is sent has
its keys in the order they were written in: many clients sign one and let a library send the other.
Run with `python3 signed_client.py` (Python 3.8 or later); the settings are the environment variables
listed in the README beside this folder. It stops at the first answer that is not the one expected.
"""

import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT_SECONDS = 20


class Mismatch(Exception):
    pass


class SignedClient:
    def __init__(self, target, api_key, api_secret):
        self.target, self.api_key, self.api_secret = target, api_key, api_secret

    def headers(self, method, path, body=None):
        timestamp = str(int(time.time()))
        nonce = os.urandom(16).hex()
        message = method + path + timestamp + nonce
        if body:
            message += json.dumps(body, sort_keys=True)
        signature = hmac.new(self.api_secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        return {
            "X-API-Key": self.api_key,
            "X-Timestamp": timestamp,
            "X-Nonce": nonce,
            "X-Signature": signature,
        }

    def call(self, method, path, body=None, headers=None):
        headers = headers or self.headers(method, path, body)
        data = None
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
            data = json.dumps(body).encode()
        request = urllib.request.Request(self.target + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)


def expect(step, wanted, got):
    if got != wanted:
        raise Mismatch(f"{step}: {got!r}, not {wanted!r}")
    print("ok", step, flush=True)


def last_code(target, to):
    query = urllib.parse.urlencode({"to": to, "limit": 1})
    with urllib.request.urlopen(f"{target}/sandbox/messages?{query}", timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)["data"][0]["code"]


def run():
    target = os.environ.get("TARGET", "http://127.0.0.1:8080").rstrip("/")
    to = "+" + os.environ["MOBILE"]
    client = SignedClient(target, os.environ["API_KEY"], os.environ["API_SECRET"])

    # Not in the order of the alphabet, with a letter beyond ASCII and a number with a fraction.
    body = {"type": "verification", "to": to, "method": "sms", "metadata": {"z": None, "name": "Zoë 😀", "amount": 12.50}}
    status, sent = client.call("POST", "/v1/send", body)
    expect("send", (201, "queued"), (status, sent.get("status")))

    code = last_code(target, to)
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    status, answer = client.call("POST", "/v1/verify", {"id": sent["id"], "code": wrong})
    expect("wrong code", (200, False, "MISMATCH"), (status, answer.get("valid"), answer.get("reason")))
    status, answer = client.call("POST", "/v1/verify", {"id": sent["id"], "code": code})
    expect("right code", (200, True, body["metadata"]), (status, answer.get("valid"), answer.get("metadata")))

    status, answer = client.call("GET", "/v1/status/" + sent["id"])
    expect("status", (200, "verified"), (status, answer.get("status")))

    used = client.headers("POST", "/v1/send", body)
    expect("once", 201, client.call("POST", "/v1/send", body, used)[0])
    status, answer = client.call("POST", "/v1/send", body, used)
    expect("a repeated nonce", (401, "SIGNATURE_INVALID"), (status, answer.get("code")))

    forged = {**client.headers("POST", "/v1/send", {**body, "to": "+919000000000"})}
    status, answer = client.call("POST", "/v1/send", body, forged)
    expect("another body", (401, "SIGNATURE_INVALID"), (status, answer.get("code")))
    status, answer = client.call("POST", "/v1/cancel", {})
    expect("an empty object", (400, "INVALID_REQUEST"), (status, answer.get("code")))


if __name__ == "__main__":
    try:
        run()
    except Mismatch as mismatch:
        sys.exit(str(mismatch))
