package vault

import (
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The additional data that ties a sealed value to its row. These texts are part of the database's format: changing one
// makes every value of its column unreadable.

var indexKeyRow = []byte("index_key")

func accountColumn(address, column string) []byte {
	return []byte("otp_auth_config/" + address + "/" + column)
}

// Recipient ties a sealed recipient to its row.
func Recipient(id otp.ID) []byte { return append([]byte("recipients/"), id[:]...) }

// Mailbox ties a sealed mailbox to its row, a challenge or an event.
func Mailbox(id otp.ID) []byte { return append([]byte("mailbox/"), id[:]...) }

// Metadata ties sealed metadata to its challenge, in its row and in its history.
func Metadata(challenge otp.ID) []byte { return append([]byte("metadata/"), challenge[:]...) }

// Signing ties a sealed signing secret to its credential.
func Signing(id otp.ID) []byte { return []byte("credentials/" + id.Text("key") + "/signing_secret") }

// ReceiptKey ties a sealed key of receipts to its id.
func ReceiptKey(id string) []byte { return []byte("signing_keys/" + id) }

// FactorSecret ties the sealed secret of a second factor to its row.
func FactorSecret(id otp.ID) []byte { return append([]byte("factors/secret/"), id[:]...) }

// TestNumber ties the sealed number of a test recipient to its row.
func TestNumber(id otp.ID) []byte { return append([]byte("test_recipients/number/"), id[:]...) }

// TestCode ties the sealed code of a test recipient to its row.
func TestCode(id otp.ID) []byte { return append([]byte("test_recipients/code/"), id[:]...) }

// WebhookSecret ties the sealed secrets of a webhook endpoint to its row.
func WebhookSecret(endpoint otp.ID) []byte {
	return append([]byte("webhook_endpoints/"), endpoint[:]...)
}

// WebhookText ties the sealed request to an endpoint, and its answer, to the delivery's row.
func WebhookText(endpoint, id otp.ID) []byte {
	return append(append([]byte("webhook_deliveries/"), endpoint[:]...), id[:]...)
}

// WebhookEvent ties the sealed text of an event for endpoints to the text's row.
func WebhookEvent(id otp.ID) []byte { return append([]byte("webhook_texts/"), id[:]...) }

// Claim ties the sealed answer of an idempotency key to its row.
func Claim(claim *sql.Claim) []byte {
	row := append([]byte("idempotency_keys/"), claim.Credential[:]...)
	row = append(row, claim.Key[:]...)
	return append(row, claim.Challenge[:]...)
}

// rows has for each sealed column the function that returns a value's additional data from the names of its row.
var rows = map[string]func(names [][]byte) []byte{
	"index_key.sealed":             func([][]byte) []byte { return indexKeyRow },
	"signing_keys.sealed":          func(names [][]byte) []byte { return ReceiptKey(string(names[1])) },
	"otp_auth_config.cipher_key":   func(names [][]byte) []byte { return accountColumn(string(names[0]), "cipher_key") },
	"otp_auth_config.cipher_iv":    func(names [][]byte) []byte { return accountColumn(string(names[0]), "cipher_iv") },
	"otp_auth_config.safe_list":    func(names [][]byte) []byte { return accountColumn(string(names[0]), "safe_list") },
	"credentials.signing_secret":   func(names [][]byte) []byte { return Signing(otp.ID(names[0])) },
	"recipients.sealed":            func(names [][]byte) []byte { return Recipient(otp.ID(names[0])) },
	"challenges.mailbox":           func(names [][]byte) []byte { return Mailbox(otp.ID(names[0])) },
	"challenges.details":           func(names [][]byte) []byte { return Metadata(otp.ID(names[0])) },
	"events.mailbox":               func(names [][]byte) []byte { return Mailbox(otp.ID(names[0])) },
	"events.summary":               func(names [][]byte) []byte { return Metadata(otp.ID(names[1])) },
	"factors.secret":               func(names [][]byte) []byte { return FactorSecret(otp.ID(names[0])) },
	"test_recipients.number":       func(names [][]byte) []byte { return TestNumber(otp.ID(names[0])) },
	"test_recipients.code":         func(names [][]byte) []byte { return TestCode(otp.ID(names[0])) },
	"webhook_endpoints.secret":     func(names [][]byte) []byte { return WebhookSecret(otp.ID(names[0])) },
	"webhook_endpoints.old_secret": func(names [][]byte) []byte { return WebhookSecret(otp.ID(names[0])) },
	"webhook_texts.masked":         func(names [][]byte) []byte { return WebhookEvent(otp.ID(names[0])) },
	"webhook_texts.whole":          func(names [][]byte) []byte { return WebhookEvent(otp.ID(names[0])) },
	"webhook_deliveries.request":   func(names [][]byte) []byte { return WebhookText(otp.ID(names[0]), otp.ID(names[1])) },
	"webhook_deliveries.answer":    func(names [][]byte) []byte { return WebhookText(otp.ID(names[0]), otp.ID(names[1])) },
	"idempotency_keys.answer": func(names [][]byte) []byte {
		return Claim(&sql.Claim{Credential: otp.ID(names[0]), Key: otp.ID(names[1]), Challenge: otp.ID(names[2])})
	},
}

// Row returns the additional data of a value in a sealed column; nil for a column that is not in rows.
func Row(column sql.Sealed, names [][]byte) []byte {
	row, known := rows[column.Name()]
	if !known {
		return nil
	}
	return row(names)
}
