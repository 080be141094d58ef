package manage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// TestRecipients manages an account's test recipients: numbers that get no message and always have the same code, for
// example for an app store's reviewers. They work on every server within five seconds.
type TestRecipients struct{ *core }

// The bounds of test recipients.
const (
	maxTestLife       = 30 * otp.Day
	maxTestRecipients = 20 // of one account
)

// NewTestRecipient describes a test recipient to add.
type NewTestRecipient struct {
	Account   string
	Number    string // with its country code, in any spelling
	Code      string // as many digits as the account's codes have
	Reason    string // 1 to 200 characters
	ExpiresAt time.Time
}

// TestRecipient is a test recipient without its code, which is never shown again.
type TestRecipient struct {
	ID        otp.ID
	Mask      string
	Reason    string
	CreatedAt otp.Millis
	ExpiresAt otp.Millis
}

// List returns an account's test recipients that have not expired. Refusal: NotFound.
func (c TestRecipients) List(ctx context.Context, account string) ([]TestRecipient, error) {
	if err := c.known(ctx, account); err != nil {
		return nil, err
	}
	rows, err := c.store.Tests.List(ctx, account, otp.At(time.Now()))
	all := make([]TestRecipient, len(rows))
	for i := range rows {
		all[i] = testRecipientOf(&rows[i])
	}
	return all, err
}

func testRecipientOf(r *sql.TestRecipient) TestRecipient {
	return TestRecipient{r.ID, r.Mask, r.Reason, r.CreatedAt, r.ExpiresAt}
}

// Add makes a number a test recipient. It refuses a number that somebody has verified with a live code: whoever knows
// the fixed code could log in to that person's account in the application. Refusals: NotFound; Invalid, which names
// the field.
func (c TestRecipients) Add(ctx context.Context, by otp.Actor, n NewTestRecipient) (TestRecipient, error) {
	account, err := c.account(ctx, n.Account)
	if err != nil {
		return TestRecipient{}, err
	}
	now := otp.At(time.Now())
	if err := n.check(&account.Account, now); err != nil {
		return TestRecipient{}, err
	}
	number, err := deliver.NormalNumber(n.Number, account.Countries)
	if err != nil {
		return TestRecipient{}, otp.RefuseField("number",
			"must be a number with its country code, of a country of the account")
	}
	row := sql.TestRecipient{
		ID: sql.NewID(), Account: n.Account, Mask: deliver.Mask(number), Reason: n.Reason, CreatedAt: now,
		ExpiresAt: otp.At(n.ExpiresAt),
		Recipient: c.vault.RecipientHash(n.Account, otp.Live, deliver.Identity(number)),
	}
	row.Number = c.vault.Keyring.Seal(vault.TestNumber(row.ID), []byte(deliver.Identity(number)))
	row.Code = c.vault.Keyring.Seal(vault.TestCode(row.ID), []byte(n.Code))
	// Search the whole history before locking anything, and then what was added meanwhile.
	if err := c.refuseVerified(ctx, &row, 0); err != nil {
		return TestRecipient{}, err
	}
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		count, err := c.store.Tests.Insert(tx, row)
		if err != nil {
			return err
		}
		if count > maxTestRecipients {
			return otp.RefuseField("number", fmt.Sprintf("is one too many; an account has up to %d test recipients",
				maxTestRecipients))
		}
		if err := c.refuseVerified(ctx, &row, now-otp.Minute); err != nil {
			return err
		}
		return record(tx, otp.TestRecipientAdded, by, n.Account, now, "test_recipient", row.ID.Text("test"), "recipient",
			row.Mask, "reason", row.Reason, "expires_at", row.ExpiresAt.Time().Format(time.RFC3339))
	})
	if errors.Is(err, sql.ErrTaken) {
		err = otp.RefuseField("number", "is a test recipient already; remove that one first")
	}
	return testRecipientOf(&row), err
}

func (n *NewTestRecipient) check(account *otp.Account, now otp.Millis) error {
	if !otp.Digits(n.Code) || len(n.Code) != account.Length {
		return otp.RefuseField("code", fmt.Sprintf("must be %d digits, as the account's codes have", account.Length))
	}
	if until := otp.At(n.ExpiresAt); until <= now || until > now+maxTestLife {
		return otp.RefuseField("expires_at", "must be in the future, by 30 days at most")
	}
	return checkReason(n.Reason)
}

func (c TestRecipients) refuseVerified(ctx context.Context, row *sql.TestRecipient, since otp.Millis) error {
	verified, err := c.store.Tests.Verified(ctx, row.Account, row.Recipient, since)
	if err == nil && verified {
		err = otp.RefuseField("number",
			"belongs to somebody: it was verified with a code that was sent to it; take a number "+
				"that nobody has")
	}
	return err
}

// Remove removes a test recipient. Codes of its challenges are not accepted any more. Refusal: NotFound.
func (c TestRecipients) Remove(ctx context.Context, by otp.Actor, account string, id otp.ID) error {
	defer c.changed()
	return c.store.Change(ctx, func(tx *sql.Tx) error {
		row, found, err := c.store.Tests.Delete(tx, account, id)
		if err != nil {
			return err
		}
		if !found {
			return otp.Refuse(otp.NotFound, "the account has no such test recipient")
		}
		return record(tx, otp.TestRecipientRemoved, by, account, otp.At(time.Now()), "test_recipient", id.Text("test"),
			"recipient", row.Mask)
	})
}
