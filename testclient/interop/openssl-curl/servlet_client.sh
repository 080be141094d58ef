#!/usr/bin/env bash
#
# Walks one code through the OTP servlets with curl and openssl, and stops at the first answer that
# differs by a single byte. Runs in bash 3.2 or later without jq; the settings are the environment
# variables listed in the README beside this folder.
#
# openssl takes the key as an argument, which shows it in the process list: fine for a
# demonstration, but a real integration uses a cipher library.

set -euo pipefail
export LC_ALL=C # One character is one byte.

bad_setting() {
  printf '%s\n' "$1" >&2
  exit 2
}

TARGET=${TARGET-http://127.0.0.1:8080}
CONTEXT_PATH=${CONTEXT_PATH-/otpauthapi}
PROFILE=${PROFILE-documented}
PARAM_ENCODING=${PARAM_ENCODING-base64}
for name in ACCESS_KEY CIPHER_KEY CIPHER_IV MOBILE; do
  [ -n "${!name-}" ] || bad_setting "$name is not set"
done

case $PROFILE in
  documented) line_end='' wrong_pin='Wrong PIN. No of Retries remaining #2' ;;
  live) line_end=$'\r\n' wrong_pin='Wrong PIN . No of Retries remaining # 2' ;;
  *) bad_setting 'PROFILE must be documented or live' ;;
esac

to_hex() { od -An -v -tx1 | tr -d ' \n'; }
hex_of_base64() { printf '%s' "$1" | openssl base64 -d -A | to_hex; }

case $PARAM_ENCODING in
  base64) to_text() { openssl base64 -A; } ;;
  hex) to_text() { to_hex; } ;;
  *) bad_setting 'PARAM_ENCODING must be base64 or hex' ;;
esac

target=${TARGET%/}
servlets=$target${CONTEXT_PATH%/}
ip_address=203.0.113.50
key=$(hex_of_base64 "$CIPHER_KEY")
iv=$(hex_of_base64 "$CIPHER_IV")

# Digits and dots need no escaping, so the query string is put together as it is.
subject="ipaddress=$ip_address&mobile=$MOBILE"

# The answer's bytes stay in files: a shell variable would lose the line end.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

encrypt() {
  printf '%s' "$1" | openssl enc "-aes-$((${#key} * 4))-cbc" -K "$key" -iv "$iv" | to_text
}

# request ARGUMENT... leaves the body in $work/came and the status in $status.
request() {
  : >"$work/came"
  status=$(curl --silent --show-error --max-time 20 --output "$work/came" --write-out '%{http_code}' "$@") || {
    printf 'FAILED no answer from %s\n' "$target" >&2
    exit 1
  }
}

servlet() { request --header "access_key: $ACCESS_KEY" "$@"; }

# curl encodes what follows "otp=", so the plus of base64 arrives as %2B.
validate() {
  local otp
  otp=$(encrypt "$1")
  servlet --data "$subject" --data-urlencode "otp=$otp" "$servlets/otpvalidationservlet"
}

# shown FILE prints its bytes with the invisible ones escaped.
shown() {
  local text
  IFS= read -r -d '' text <"$1" || true
  text=${text//\\/\\\\}
  text=${text//$'\r'/\\r}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  printf '"%s"' "$text"
}

# mismatch STEP EXPECTED CAME ends the program.
mismatch() {
  printf 'FAILED %s\n  expected %s\n  came     %s\n' "$1" "$2" "$3" >&2
  exit 1
}

# expect STEP TEXT compares the last answer, status and every byte.
expect() {
  printf '%s%s' "$2" "$line_end" >"$work/expected"
  if [ "$status" != 200 ] || ! cmp -s "$work/expected" "$work/came"; then
    mismatch "$1" "HTTP 200 $(shown "$work/expected")" "HTTP $status $(shown "$work/came")"
  fi
  printf 'ok %s\n' "$1"
}

# codes prints the codes of the inbox answer, newest first. Quotes inside a JSON text are escaped,
# so only the field itself matches.
codes() {
  tr -d '\r\n' <"$work/came" |
    { grep -oE '"code"[[:space:]]*:[[:space:]]*"[0-9]{4,10}"' || true; } |
    sed -E 's/.*"([0-9]+)"$/\1/'
}

# read_inbox sets $code to the code of the two newest messages, which must be the same: regenerate
# sends it again.
read_inbox() {
  local give_up=$((SECONDS + 10)) found before
  while :; do
    request "$target/sandbox/messages?to=$MOBILE"
    found=$(codes)
    code=$(printf '%s\n' "$found" | sed -n 1p)
    before=$(printf '%s\n' "$found" | sed -n 2p)
    [ -z "$before" ] || break
    [ "$SECONDS" -lt "$give_up" ] || mismatch inbox 'two messages' "HTTP $status $(shown "$work/came")"
    sleep 0.2
  done
  [ "$code" = "$before" ] || mismatch inbox "the same code twice, $before" "newest $code"
  printf 'ok inbox\n'
}

servlet "$servlets/otpgenservlet?$subject"
expect generate 'OTP Generated Successfully'

# Integrations POST with everything in the query string and nothing in the body.
servlet --request POST --data '' "$servlets/otpregenservlet?$subject"
expect regenerate 'OTP Generated Successfully'

read_inbox
last=${code#"${code%?}"}
validate "${code%?}$(((last + 1) % 10))"
expect 'wrong code' "$wrong_pin"

validate "$code"
expect 'right code' 'Verified successfully'

validate "$code"
expect 'used code' OTPEXPIRED
