"""The guide's rotation manager, address lists and service account, over an API client that it takes for granted."""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import load_pem_private_key

URL, ACCOUNT, TOKEN = sys.argv[1:]


class KindlyAPIClient:
    def __init__(self, token=None, service_account_id=None, private_key=None):
        self.token = token or self.exchange(service_account_id, private_key)

    def call(self, method, path, body=None, **headers):
        request = urllib.request.Request(URL + path, method=method, headers={"Authorization": "Bearer " + self.token})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or b"null"), response.headers

    def create_api_key(self, settings=None, **named):
        # Deviation: the account, because the owner sees several.
        return self.call("POST", "/api/keys", {"account": ACCOUNT, **(settings or named)})[0]

    def create_service_account(self, settings):
        return self.call("POST", "/api/service-accounts", settings)[0]

    @staticmethod
    def exchange(client, private_key):
        """Gets an access token for a signed assertion (RFC 7523)."""
        def text(raw):
            return base64.urlsafe_b64encode(raw).rstrip(b"=")
        now = int(time.time())
        claims = {"iss": client, "sub": client, "aud": URL + "/oauth/token", "iat": now, "exp": now + 60,
                  "jti": os.urandom(16).hex()}
        signed = text(json.dumps({"alg": "EdDSA"}).encode()) + b"." + text(json.dumps(claims).encode())
        signature = load_pem_private_key(private_key.encode(), None).sign(signed)
        form = urllib.parse.urlencode({
            "grant_type": "client_credentials", "client_assertion": (signed + b"." + text(signature)).decode(),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"})
        with urllib.request.urlopen(URL + "/oauth/token", form.encode(), timeout=20) as response:
            return json.loads(response.read())["access_token"]


class KeyRotationManager:
    def __init__(self, api_client):
        self.api_client = api_client
        self.rotation_interval = timedelta(days=90)

    def should_rotate(self, key_created_at):
        age = datetime.utcnow() - key_created_at
        return age > self.rotation_interval

    def rotate_api_key(self, old_key_id):
        # Create new key
        new_key = self.api_client.create_api_key({
            "name": f"Rotated key - {datetime.utcnow().isoformat()}"
        })
        # Update application configuration
        os.environ['KINDLY_API_KEY'] = new_key['key']
        # Schedule old key deletion (grace period)
        self.schedule_key_deletion(old_key_id, delay_hours=24)
        return new_key

    def schedule_key_deletion(self, key_id, delay_hours):
        # The guide leaves this open. The server ends the key, so no program has to wait for it.
        _, headers = self.api_client.call("GET", "/api/keys/" + key_id)
        ends = datetime.utcnow() + timedelta(hours=delay_hours)
        return self.api_client.call("PATCH", "/api/keys/" + key_id, {"expires_at": ends.isoformat() + "Z"},
                                    If_Match=headers["ETag"])[0]


api = KindlyAPIClient(token=TOKEN)

old = api.create_api_key({"name": "Main Service"})
manager = KeyRotationManager(api)
created = datetime.fromisoformat(old["created_at"].rstrip("Z"))
print("should rotate", manager.should_rotate(created), manager.should_rotate(created - timedelta(days=91)))
new = manager.rotate_api_key(old["id"])
ending, _ = api.call("GET", "/api/keys/" + old["id"])
left = datetime.fromisoformat(ending["expires_at"].rstrip("Z")) - datetime.utcnow()
print("rotated", new["key"] == os.environ["KINDLY_API_KEY"], ending["status"], round(left / timedelta(hours=1)))

api_key = api.create_api_key(
    name="Production Server",
    allowed_ips=[
        "203.0.113.0/24",  # Production subnet
        "198.51.100.42"  # Backup server
    ],
    denied_ips=[
        "192.168.0.0/16",  # Block all private IPs
        "10.0.0.0/8"
    ]
)
print("bound", api_key["allowed_ips"], api_key["denied_ips"])

# Deviation: the permissions are named for what there is here.
service_account = api.create_service_account({
    "name": "analytics-processor",
    "description": "Automated analytics processing service",
    "permissions": [
        "read:statistics",
        "read:audit",
        "read:accounts"
    ]
})
service_client = KindlyAPIClient(
    service_account_id=service_account['id'],
    private_key=service_account['private_key']
)
print("service", service_client.call("GET", "/api/auth/me")[0]["permissions"])
try:
    service_client.call("POST", "/api/keys", {"name": "more than it may"})
except urllib.error.HTTPError as refusal:
    print("refused", refusal.code, json.loads(refusal.read())["code"])
