package people

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// A backup code has 50 random bits. All codes of a person are made at once.
const (
	backupCodes  = 10
	backupLength = 10 // characters of base32
)

var backupText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// plainCode returns a code without blanks and hyphens.
func plainCode(code string) string {
	if len(code) > 64 {
		return "too long"
	}
	return otp.Lower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

func (p *People) backupHash(person otp.ID, code string) [32]byte {
	return p.Vault.Index.Sum32("backup code", string(person[:]), code)
}

// NewBackupCodes replaces the person's backup codes, and returns the new ones, which are not shown again. Refusals:
// ReauthenticationRequired, NotFound for a person without a factor.
func (f *Factors) NewBackupCodes(ctx context.Context, who Principal) (codes []string, err error) {
	at := now()
	if err := who.ProvedRecently(at); err != nil {
		return nil, err
	}
	factors, err := f.p.rows.Factors(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	if len(factors) == 0 {
		return nil, otp.Refuse(otp.NotFound, "backup codes stand in for a second factor; add one first")
	}
	err = f.p.change(ctx, func(tx *sql.Tx) error {
		codes, err = f.p.makeBackupCodes(tx, who, at)
		return err
	})
	return codes, err
}

func (p *People) makeBackupCodes(tx *sql.Tx, who Principal, at otp.Millis) ([]string, error) {
	codes, hashes := make([]string, backupCodes), make([][32]byte, backupCodes)
	for i := range codes {
		var raw [8]byte
		rand.Read(raw[:]) // never returns an error; the runtime stops the process instead
		code := backupText.EncodeToString(raw[:])[:backupLength]
		codes[i], hashes[i] = code[:backupLength/2]+"-"+code[backupLength/2:], p.backupHash(who.ID, code)
	}
	if err := tx.ReplaceBackupCodes(who.ID, hashes, at); err != nil {
		return nil, err
	}
	return codes, record(tx, otp.BackupCodesMade, who.Actor(), who.ID, at)
}
