package sql

import "otpbridge/server/otp"

// Passkeys stores the uses of passkeys, and the ceremonies for them.
type Passkeys struct{}

// Use records that a passkey signed, with its sign counter. The counter must rise, unless the passkey has none
// and always sends 0. Of any number of callers with the same counter, one succeeds.
func (Passkeys) Use(tx *Tx, person, id otp.ID, counter int64, now otp.Millis) (bool, error) {
	return tx.changed(`
		UPDATE factors
		SET last_step = ?, used_at = ?
		WHERE id = ? AND person_id = ? AND confirmed_at IS NOT NULL AND (last_step < ? OR last_step = 0 AND ? = 0)`,
		counter, int64(now), id[:], person[:], counter, counter)
}

// InsertCeremony adds a ceremony.
func (Passkeys) InsertCeremony(tx *Tx, c Ceremony) error { return ceremonies.insert(tx.ctx, tx, &c) }

// UseCeremony ends a ceremony that is open at now. Of any number of answers to it, one succeeds.
func (Passkeys) UseCeremony(tx *Tx, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`DELETE FROM ceremonies WHERE id = ? AND expires_at > ?`, id[:], int64(now))
}
