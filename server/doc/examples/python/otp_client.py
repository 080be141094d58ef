"""Sends and verifies one-time codes through the OTP servlets."""

import base64
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

WRONG = re.compile(r"Wrong PIN ?\. No of Retries remaining # ?(\d+)")
OUTCOMES = {
    "OTP Generated Successfully": "sent",
    "Verified successfully": "verified",
    "OTPEXPIRED": "expired",
}


class OtpClient:
    def __init__(self, url: str, access_key: str, key: bytes, iv: bytes):
        self.url = url
        self.access_key = access_key
        self.cipher = Cipher(algorithms.AES(key), modes.CBC(iv))

    def send(self, mobile: str, ip_address: str) -> str:
        """Has a new code sent; one that was sent before stops being valid."""
        return self._call("otpgenservlet", mobile=mobile, ipaddress=ip_address)

    def resend(self, mobile: str, ip_address: str) -> str:
        """Has the same code sent again."""
        return self._call("otpregenservlet", mobile=mobile, ipaddress=ip_address)

    def verify(self, mobile: str, ip_address: str, code: str) -> str:
        """Answers "verified" for the right code, once, and nothing like it for anything else."""
        return self._call("otpvalidationservlet", mobile=mobile, ipaddress=ip_address, otp=self._encrypt(code))

    def _encrypt(self, code: str) -> str:
        padder = padding.PKCS7(128).padder()
        padded = padder.update(code.encode()) + padder.finalize()
        encryptor = self.cipher.encryptor()
        return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()

    def _call(self, servlet: str, **parameters: str) -> str:
        request = urllib.request.Request(
            f"{self.url}/{servlet}",
            data=urllib.parse.urlencode(parameters).encode(),
            headers={"access_key": self.access_key},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = response.read().decode().strip()
        except urllib.error.HTTPError as error:  # an account with strict_http
            answer = error.read().decode().strip()
        return _outcome(answer)


def _outcome(answer: str) -> str:
    if wrong := WRONG.fullmatch(answer):
        return f"wrong {wrong[1]}"
    if answer.startswith("Max no of tries for this pin"):
        return "exhausted"
    return OUTCOMES.get(answer, "failed")


def main(command: str, *rest: str) -> int:
    client = OtpClient(
        os.environ["OTP_URL"],
        os.environ["OTP_ACCESS_KEY"],
        base64.b64decode(os.environ["OTP_CIPHER_KEY"]),
        base64.b64decode(os.environ["OTP_CIPHER_IV"]),
    )
    outcome = {"send": client.send, "resend": client.resend, "verify": client.verify}[command](*rest)
    print(outcome)
    return 0 if outcome in ("sent", "verified") else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
