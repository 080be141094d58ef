"""Walks one code through the OTP servlets the way a Python integration does.

It stops at the first answer that differs by a single byte. Run with `python3 servlet_client.py`
(Python 3.8 or later); the settings are the environment variables listed in the README beside this
folder.

The standard library has no AES, so the block is made by the `openssl` command. That shows the key
in the process list: fine for a demonstration, but a real integration uses a cipher library.
"""

import base64
import binascii
import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

IP_ADDRESS = "203.0.113.40"
REQUEST_TIMEOUT_SECONDS = 20
INBOX_PATIENCE_SECONDS = 10


class Mismatch(Exception):
    pass


class BadSetting(Exception):
    pass


class ServletClient:
    def __init__(self):
        self.target = setting("TARGET", "http://127.0.0.1:8080").rstrip("/")
        self.servlets = self.target + setting("CONTEXT_PATH", "/otpauthapi").rstrip("/")
        # urllib sends the name as `Access_key`: header names carry no letter case.
        self.headers = {"access_key": setting("ACCESS_KEY")}
        self.cipher_key = bytes_of("CIPHER_KEY")
        self.cipher_iv = bytes_of("CIPHER_IV")
        self.mobile = setting("MOBILE")
        self.live = one_of("PROFILE", "documented", "live") == "live"
        self.hex = one_of("PARAM_ENCODING", "base64", "hex") == "hex"
        self.subject = {"ipaddress": IP_ADDRESS, "mobile": self.mobile}

    def run(self):
        query = urllib.parse.urlencode(self.subject)
        self.expect(
            "generate",
            "OTP Generated Successfully",
            request("GET", f"{self.servlets}/otpgenservlet?{query}", self.headers),
        )
        # Integrations POST with everything in the query string and nothing in the body.
        self.expect(
            "regenerate",
            "OTP Generated Successfully",
            request("POST", f"{self.servlets}/otpregenservlet?{query}", self.headers, b""),
        )
        code = self.code_sent_twice()
        wrong_pin = (
            "Wrong PIN . No of Retries remaining # 2"
            if self.live
            else "Wrong PIN. No of Retries remaining #2"
        )
        self.expect("wrong code", wrong_pin, self.validate(differing_from(code)))
        self.expect("right code", "Verified successfully", self.validate(code))
        self.expect("used code", "OTPEXPIRED", self.validate(code))

    def validate(self, code):
        # urlencode turns the plus of base64 into %2B.
        form = urllib.parse.urlencode({**self.subject, "otp": self.encrypt(code)})
        return request("POST", f"{self.servlets}/otpvalidationservlet", self.headers, form.encode())

    def encrypt(self, code):
        command = ["openssl", "enc", f"-aes-{len(self.cipher_key) * 8}-cbc"]
        command += ["-K", self.cipher_key.hex(), "-iv", self.cipher_iv.hex()]
        block = subprocess.run(command, input=code.encode(), stdout=subprocess.PIPE, check=True).stdout
        return block.hex() if self.hex else base64.b64encode(block).decode()

    def code_sent_twice(self):
        """The code of the two newest messages, which must be the same: regenerate sends it again."""
        query = urllib.parse.urlencode({"to": self.mobile})
        give_up = time.monotonic() + INBOX_PATIENCE_SECONDS
        while True:
            answer = request("GET", f"{self.target}/sandbox/messages?{query}", {})
            codes = codes_in(answer)
            if len(codes) >= 2:
                newest, before = codes[:2]
                equal = newest == before and re.fullmatch("[0-9]{4,10}", newest or "")
                same("inbox", f"the same code twice, {before}", f"newest {newest}", equal)
                return newest
            if time.monotonic() >= give_up:
                same("inbox", "two messages", shown(answer), False)
            time.sleep(0.2)

    def expect(self, step, text, came):
        expected = (200, (text + ("\r\n" if self.live else "")).encode())
        same(step, shown(expected), shown(came), came == expected)


def request(method, url, headers, body=None):
    """Status and raw bytes of the answer, whatever the status."""
    asked = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read()


def codes_in(answer):
    try:
        return [message.get("code") for message in json.loads(answer[1])["data"]]
    except (ValueError, KeyError, TypeError):
        return []  # Reported by the caller, with the answer.


def differing_from(code):
    """The same code with another last digit."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def shown(answer):
    status, body = answer
    return f"HTTP {status} {json.dumps(body.decode('latin-1'))}"


def same(step, expected, came, equal):
    if not equal:
        raise Mismatch(f"FAILED {step}\n  expected {expected}\n  came     {came}")
    print(f"ok {step}")


def setting(name, fallback=None):
    value = os.environ.get(name, fallback)
    if value is None:
        raise BadSetting(f"{name} is not set")
    return value


def one_of(name, first, second):
    """One of two words, the first being the default."""
    value = setting(name, first)
    if value not in (first, second):
        raise BadSetting(f"{name} must be {first} or {second}")
    return value


def bytes_of(name):
    try:
        return base64.b64decode(setting(name), validate=True)
    except binascii.Error:
        raise BadSetting(f"{name} is not base64") from None


def main():
    try:
        ServletClient().run()
    except BadSetting as reason:
        print(reason, file=sys.stderr)
        return 2
    except Mismatch as reason:
        print(reason, file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException, subprocess.CalledProcessError) as reason:
        print(f"FAILED {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
