"""The guide's client that signs its requests. It imports os, which the guide forgot."""

import hmac
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request


class SignedRequestClient:
    def __init__(self, api_key, api_secret):
        self.api_key = api_key
        self.api_secret = api_secret

    def create_signature(self, method, path, body=None):
        timestamp = str(int(time.time()))
        nonce = os.urandom(16).hex()
        # Create message to sign
        message_parts = [method, path, timestamp, nonce]
        if body:
            message_parts.append(json.dumps(body, sort_keys=True))
        message = ''.join(message_parts)
        # Create HMAC signature
        signature = hmac.new(
            self.api_secret.encode(),
            message.encode(),
            hashlib.sha256
        ).hexdigest()
        return {
            'X-API-Key': self.api_key,
            'X-Timestamp': timestamp,
            'X-Nonce': nonce,
            'X-Signature': signature
        }


URL, API_KEY, API_SECRET = sys.argv[1:]
client = SignedRequestClient(API_KEY, API_SECRET)


def send(method, path, headers, body=None):
    data = json.dumps(body).encode() if body else None  # as libraries write it: the keys are not sorted
    request = urllib.request.Request(URL + path, data, {**headers, "Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


message = {"to": "+919876501234", "method": "sms", "type": "verification"}
headers = client.create_signature("POST", "/v1/send", message)
status, sent = send("POST", "/v1/send", headers, message)
print("sent", status)
status, _ = send("GET", "/v1/status/" + sent["id"], client.create_signature("GET", "/v1/status/" + sent["id"]))
print("read", status)
for what, changed in (
        ("repeated", headers),
        ("unsigned", {"X-API-Key": API_KEY}),
        ("changed", client.create_signature("POST", "/v1/send", {**message, "to": "+919876501235"})),
        ("other secret", SignedRequestClient(API_KEY, "wrong").create_signature("POST", "/v1/send", message))):
    status, refusal = send("POST", "/v1/send", changed, message)
    print(what, status, refusal["code"])
