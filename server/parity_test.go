package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// Every door verifies a code of every door, but not for another recipient or account. The matrix has every door's
// answer as a literal; nothing in it is computed.

// circumstance has the values of a verification other than the code.
type circumstance struct {
	key     string // the credential
	to      string
	ip      string
	binding any
}

// guessAt verifies at a door and returns the answer's kind, in the words of the JSON API.
func guessAt(c client, door string, w circumstance, cipher [2]string, code string) string {
	c.t.Helper()
	if door == "v1" {
		body := fields{"to": w.to, "ip": w.ip, "code": code}
		if w.binding != nil {
			body["binding"] = w.binding
		}
		r := c.v1("POST", "/v1/verify", w.key, body)
		return r.kind() + left(r.Remaining)
	}
	servlet, otp := "plainotpvalidationservlet", code
	if door == "servlet" {
		servlet, otp = "otpvalidationservlet", encrypted(c.t, cipher[0], cipher[1], code)
	}
	text := c.servlet(servlet, w.key, person(w.to, "ipaddress", w.ip, "otp", otp))
	switch text {
	case "Verified successfully":
		return "VERIFIED"
	case "OTPEXPIRED":
		return "ALREADY_VERIFIED"
	case "ERROR":
		return "NOT_FOUND"
	case "UNAUTHERISED USER":
		return "AUTH_004"
	}
	if number, wrong := strings.CutPrefix(text, "Wrong PIN. No of Retries remaining #"); wrong {
		return "MISMATCH " + number
	}
	return text
}

func left(remaining *int) string {
	if remaining == nil {
		return ""
	}
	return fmt.Sprint(" ", *remaining)
}

// generateAt generates at a door and returns the code.
func generateAt(c client, door, account string, w circumstance) string {
	c.t.Helper()
	if door == "v1" {
		body := fields{"to": w.to, "method": "sms", "type": "verification", "ip": w.ip}
		if w.binding != nil {
			body["binding"] = w.binding
		}
		r := c.v1("POST", "/v1/send", w.key, body)
		require.Equal(c.t, 201, r.status, r.body)
	} else {
		require.Equal(c.t, "OTP Generated Successfully", c.servlet("otpgenservlet", w.key, person(w.to, "ipaddress", w.ip)))
	}
	messages := c.messages("limit=1&account=" + account)
	require.Len(c.t, messages, 1)
	return messages[0].Code
}

// parity has the answers to a right code that one door generated and another verifies: with one value different, and
// with all values the same.
var parity = []struct {
	generated, verified, differs string
	same, other                  string
}{
	{"servlet", "servlet", "account", "VERIFIED", "NOT_FOUND"},
	{"servlet", "servlet", "recipient", "VERIFIED", "NOT_FOUND"},
	{"servlet", "servlet", "ip", "VERIFIED", "NOT_FOUND"},
	{"servlet", "servlet", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"servlet", "servlet", "binding", "VERIFIED", "VERIFIED"}, // servlets know no binding
	{"servlet", "servlet", "environment", "VERIFIED", "NOT_FOUND"},
	{"servlet", "plain", "account", "VERIFIED", "NOT_FOUND"},
	{"servlet", "plain", "recipient", "VERIFIED", "NOT_FOUND"},
	{"servlet", "plain", "ip", "VERIFIED", "NOT_FOUND"},
	{"servlet", "plain", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"servlet", "plain", "binding", "VERIFIED", "VERIFIED"},
	{"servlet", "plain", "environment", "VERIFIED", "NOT_FOUND"},
	{"servlet", "v1", "account", "VERIFIED", "NOT_FOUND"},
	{"servlet", "v1", "recipient", "VERIFIED", "NOT_FOUND"},
	{"servlet", "v1", "ip", "VERIFIED", "NOT_FOUND"},
	{"servlet", "v1", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"servlet", "v1", "binding", "VERIFIED", "NOT_FOUND"},
	{"servlet", "v1", "environment", "VERIFIED", "NOT_FOUND"},
	{"v1", "servlet", "account", "VERIFIED", "NOT_FOUND"},
	{"v1", "servlet", "recipient", "VERIFIED", "NOT_FOUND"},
	{"v1", "servlet", "ip", "VERIFIED", "NOT_FOUND"},
	{"v1", "servlet", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"v1", "servlet", "binding", "VERIFIED", "NOT_FOUND"},
	{"v1", "servlet", "environment", "VERIFIED", "NOT_FOUND"},
	{"v1", "plain", "account", "VERIFIED", "NOT_FOUND"},
	{"v1", "plain", "recipient", "VERIFIED", "NOT_FOUND"},
	{"v1", "plain", "ip", "VERIFIED", "NOT_FOUND"},
	{"v1", "plain", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"v1", "plain", "binding", "VERIFIED", "NOT_FOUND"},
	{"v1", "plain", "environment", "VERIFIED", "NOT_FOUND"},
	{"v1", "v1", "account", "VERIFIED", "NOT_FOUND"},
	{"v1", "v1", "recipient", "VERIFIED", "NOT_FOUND"},
	{"v1", "v1", "ip", "VERIFIED", "NOT_FOUND"},
	{"v1", "v1", "key_on_ip", "VERIFIED", "VERIFIED"},
	{"v1", "v1", "binding", "VERIFIED", "NOT_FOUND"},
	{"v1", "v1", "environment", "VERIFIED", "NOT_FOUND"},
}

func TestParity_EveryDoorVerifiesWhatAnyGeneratedAndForNobodyElse(t *testing.T) {
	environ := variables(t)
	s := boot(t, environ...)
	houses := 0
	house := func(keyOnIP bool) (address, key, live string, cipher [2]string) {
		houses++
		key, live = fmt.Sprintf("the-key-of-house-%d", houses), fmt.Sprintf("the-key-of-house-%d-live", houses)
		account := s.account(fmt.Sprintf(`{"plain_validation_enabled":true,"max_attempts":100,"key_on_ip":%v,"sends_per_minute":0,"sends_per_hour":0,
			"sends_per_day":0,"access_keys":[{"key":%q},{"key":%q}]}`, keyOnIP, key, live))
		return account.Address, key, live, [2]string{account.CipherKey, account.CipherIV}
	}
	address, key, live, cipher := house(true)
	loose, looseKey, _, looseCipher := house(false)
	_, strangerKey, _, strangerCipher := house(true)
	edit(t, environ,
		`UPDATE credentials SET environment = 'live' WHERE esme_address = '`+address+`' AND last_four = 'live'`)

	for i, cell := range parity {
		someone, somebodyElse := fmt.Sprintf("+91955149%04d", 2*i), fmt.Sprintf("+91955149%04d", 2*i+1)
		t.Run(cell.generated+"-"+cell.verified+"-"+cell.differs, func(t *testing.T) {
			account, ciphers := address, cipher
			w := circumstance{key: key, to: someone, ip: "203.0.113.7"}
			if cell.differs == "key_on_ip" {
				account, ciphers, w.key = loose, looseCipher, looseKey
			}
			if cell.differs == "binding" && cell.generated == "v1" && cell.verified == "v1" {
				w.binding = fields{"transaction": 17, "amount": 12.50}
			}

			other, otherCipher, made := w, ciphers, w
			switch cell.differs {
			case "account":
				other.key, otherCipher = strangerKey, strangerCipher
			case "recipient":
				other.to = somebodyElse
			case "ip", "key_on_ip":
				other.ip = "198.51.100.4"
			case "environment":
				other.key = live
			case "binding":
				switch {
				case cell.verified == "v1":
					other.binding = fields{"transaction": 18}
				case cell.generated == "v1": // then the code is bound, which no servlet can say
					made.binding = fields{"transaction": 17}
				}
			}
			code := generateAt(s.client, cell.generated, account, made)
			require.Equal(t, cell.other, guessAt(s.client, cell.verified, other, otherCipher, code), "other")
			if cell.other == "VERIFIED" || made.binding != nil && w.binding == nil {
				code = generateAt(s.client, cell.generated, account, w)
			}
			require.Equal(t, cell.same, guessAt(s.client, cell.verified, w, ciphers, code), "same")
			for _, door := range []string{"servlet", "plain", "v1"} {
				if w.binding == nil || door == "v1" {
					require.Equal(t, "ALREADY_VERIFIED", guessAt(s.client, door, w, ciphers, code), "used at one door is used at %s",
						door)
				}
			}
		})
	}
}

// The doors share one count: five wrong guesses at any doors use the code up at all of them.
func TestParity_AttemptsAreShared(t *testing.T) {
	s := boot(t, variables(t)...)
	doors := []string{"servlet", "plain", "v1"}
	for round, generated := range []string{"servlet", "v1"} {
		account := s.account(`{"plain_validation_enabled":true,"max_attempts":5}`)
		cipher := [2]string{account.CipherKey, account.CipherIV}
		w := circumstance{key: account.APIKey, to: "+919551492394", ip: "203.0.113.7"}
		code := generateAt(s.client, generated, account.Address, w)
		wrong := "000000"
		if code == wrong {
			wrong = "000001"
		}
		for i, want := range []string{"MISMATCH 4", "MISMATCH 3", "MISMATCH 2", "MISMATCH 1", "MISMATCH 0"} {
			require.Equal(t, want, guessAt(s.client, doors[(i+round)%3], w, cipher, wrong), "generated at %s", generated)
		}
		require.Equal(t, "MAX_ATTEMPTS", guessAt(s.client, "v1", w, cipher, code))
		require.Equal(t, "Max no of tries for this pin been reached. Please generate other",
			guessAt(s.client, "servlet", w, cipher, code))
		require.Equal(t, "Max no of tries for this pin been reached. Please generate other",
			guessAt(s.client, "plain", w, cipher, code))
	}
}

// sharesTheLock uses up a recipient's budget at one door, and checks the others.
func sharesTheLock(l *ledger, c client) {
	account := c.account(`{"plain_validation_enabled":true,"max_attempts":100,"sends_per_minute":0}`)
	cipher := [2]string{account.CipherKey, account.CipherIV}
	w := circumstance{key: account.APIKey, to: "+919551492394", ip: "203.0.113.7"}
	code := generateAt(c, "v1", account.Address, w)
	for i := range 20 {
		const never = "0000000" // the code has six digits
		l.equal(fmt.Sprintf("MISMATCH %d", 19-i), guessAt(c, "v1", w, cipher, never), "wrong guess %d", i+1)
	}
	l.inject(1)
	l.acknowledge(20)
	for _, door := range []string{"servlet", "plain"} {
		l.equal("Max no of tries for this pin been reached. Please generate other", guessAt(c, door, w, cipher, code),
			"locked at v1, locked at %s", door)
	}
	l.equal("RECIPIENT_LOCKED", guessAt(c, "v1", w, cipher, code), "locked at v1")
	l.equal("ERROR", c.servlet("otpgenservlet", w.key, person(w.to)), "generate while locked")
	l.equal("RECIPIENT_LOCKED", c.v1("POST", "/v1/send", w.key, sending(w.to)).Code, "send while locked")
}

func TestParity_TheLockIsSharedByEveryDoor(t *testing.T) {
	l := new(ledger)
	sharesTheLock(l, boot(t, variables(t)...).client)
	l.report(t)
}

// skipsRecipientAtV1 does not write the recipient's row for guesses through the JSON API.
var skipsRecipientAtV1 = sqltest.Mutation{Name: "skips recipient", File: "batch.go",
	Change: func(t testing.TB, source string) string {
		t.Helper()
		return sqltest.Replace(t, source, "	recipient.dirty = recipient.dirty || recipient.changed(&beforeRecipient)\n",
			`	if seeded("skips recipient", true, false) && state.event.Door == "v1" && state.event.Kind == "wrong" {
		recipient.Recipient = beforeRecipient
	}
	recipient.dirty = recipient.dirty || recipient.changed(&beforeRecipient)
`, 1)
	}}

// The test must find a door that does not write the recipient's row: attackers would guess there.
func TestHarness_CatchesADoorThatSkipsTheRecipient(t *testing.T) {
	t.Parallel()
	skipping := new(ledger)
	sharesTheLock(skipping, startProgram(t, mutant(t, skipsRecipientAtV1), t.TempDir(), variables(t)...).client)
	require.True(t, skipping.broken(), "%v", skipping)
	t.Log(skipping)
}
