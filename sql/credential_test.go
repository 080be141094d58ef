package sql

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func plainCredential(n int) *Credential {
	return &Credential{
		ID: id(noon, n), Address: "77", Kind: "secret", Environment: otp.Live, Hash: [32]byte{byte(n), byte(n >> 8), 1},
		Signing: "off", Enabled: true, CreatedAt: noon, Version: 1,
	}
}

// changing runs a change, and records one whether it happened or not.
func changing(s *Store, do func(*Tx) (bool, error)) (did bool, err error) {
	err = s.Change(ctx, func(tx *Tx) error {
		if did, err = do(tx); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: NewID(), At: noon, Kind: otp.KeyChanged, Actor: otp.Actor{Kind: "operator"}})
	})
	return did, err
}

func insertKey(s *Store, c *Credential) error {
	_, err := changing(s, func(tx *Tx) (bool, error) { return true, s.Credentials.Insert(tx, c) })
	return err
}

func TestCredentials_AreFoundByHashByIDAndByAccount(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		seven := 7
		first, second, other := plainCredential(1), plainCredential(2), plainCredential(3)
		first.Name, first.Permissions, first.AllowedOrigins = "Kasse ☕", []string{"send:otp",
			"*"}, []string{"https://a.example"}
		first.RequestsPerMinute, first.Signing, first.SigningSecret = &seven, "required", []byte{0, 1, 255}
		other.Address = "78"
		for _, c := range []*Credential{second, first, other} {
			require.NoError(t, insertKey(s, c))
		}
		read, err := s.Credentials.ByHash(ctx, first.Hash)
		require.NoError(t, err)
		require.Equal(t, *first, read)
		read, err = s.Credentials.ByID(ctx, second.ID)
		require.NoError(t, err)
		require.Equal(t, *second, read)
		of, err := s.Credentials.List(ctx, "77")
		require.NoError(t, err)
		require.Equal(t, []Credential{*first, *second}, of, "oldest first")
		all, err := s.Credentials.List(ctx, "")
		require.NoError(t, err)
		require.Equal(t, []Credential{*first, *second, *other}, all)
		of, err = s.Credentials.List(ctx, "79")
		require.NoError(t, err)
		require.Empty(t, of)
		_, err = s.Credentials.ByID(ctx, id(noon, 4))
		require.ErrorIs(t, err, ErrNotFound)

		again := plainCredential(5)
		again.Hash = first.Hash
		require.ErrorIs(t, insertKey(s, again), ErrTaken)
	})
}

func TestRotateCredential_BothOrNeither(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		old, successor := plainCredential(1), plainCredential(2)
		require.NoError(t, insertKey(s, old))

		taken := plainCredential(3)
		taken.Hash = old.Hash
		_, err := changing(s, func(tx *Tx) (bool, error) {
			return s.Credentials.Rotate(tx, old.ID, taken, noon+otp.Day, noon)
		})
		require.Error(t, err)
		read, err := s.Credentials.ByID(ctx, old.ID)
		require.NoError(t, err)
		require.Equal(t, *old, read, "nothing changed")

		rotated, err := changing(s, func(tx *Tx) (bool, error) {
			return s.Credentials.Rotate(tx, old.ID, successor, noon+otp.Day, noon)
		})
		require.NoError(t, err)
		require.True(t, rotated)
		read, err = s.Credentials.ByID(ctx, old.ID)
		require.NoError(t, err)
		require.Equal(t, noon+otp.Day, read.ExpiresAt)
		require.Equal(t, successor.ID, read.Successor)
		rotated, err = changing(s, func(tx *Tx) (bool, error) {
			return s.Credentials.Rotate(tx, old.ID, plainCredential(4), noon+otp.Day, noon)
		})
		require.NoError(t, err)
		require.False(t, rotated, "it has a successor")
		_, err = s.Credentials.ByID(ctx, id(noon, 4))
		require.ErrorIs(t, err, ErrNotFound)

		ends := plainCredential(5)
		ends.ExpiresAt = noon + otp.Hour
		require.NoError(t, insertKey(s, ends))
		rotated, err = changing(s, func(tx *Tx) (bool, error) {
			return s.Credentials.Rotate(tx, ends.ID, plainCredential(6), noon+otp.Day, noon)
		})
		require.NoError(t, err)
		require.True(t, rotated)
		read, err = s.Credentials.ByID(ctx, ends.ID)
		require.NoError(t, err)
		require.Equal(t, noon+otp.Hour, read.ExpiresAt, "its own end was sooner")

		for n, spoil := range map[int]func(*Credential){
			10: func(c *Credential) { c.ExpiresAt = noon },
			11: func(c *Credential) { c.RevokedAt = noon },
			12: func(c *Credential) { c.Enabled = false },
		} {
			dead := plainCredential(n)
			spoil(dead)
			require.NoError(t, insertKey(s, dead))
			rotated, err = changing(s, func(tx *Tx) (bool, error) {
				return s.Credentials.Rotate(tx, dead.ID, plainCredential(n+10), noon+otp.Day, noon)
			})
			require.NoError(t, err)
			require.False(t, rotated, n)
		}
	})
}

func TestRevokeCredential_OnceAndTheFirstMomentStays(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		c := plainCredential(1)
		require.NoError(t, insertKey(s, c))
		for i, want := range []bool{true, false} {
			revoked, err := changing(s, func(tx *Tx) (bool, error) { return s.Credentials.Revoke(tx, c.ID, noon+otp.Millis(i)) })
			require.NoError(t, err)
			require.Equal(t, want, revoked)
		}
		read, err := s.Credentials.ByID(ctx, c.ID)
		require.NoError(t, err)
		require.Equal(t, noon, read.RevokedAt)
		revoked, err := changing(s, func(tx *Tx) (bool, error) { return s.Credentials.Revoke(tx, id(noon, 9), noon) })
		require.NoError(t, err)
		require.False(t, revoked)
	})
}

func TestCredential_AnUnreadableListIsNoEmptyOne(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for i, column := range []string{"permissions", "allowed_ips", "denied_ips", "allowed_origins"} {
			c := plainCredential(i)
			require.NoError(t, insertKey(s, c))
			for _, list := range []string{"send:otp", "[]", "[ ]", "{}", `"send:otp"`, "[1]", "[null]"} {
				require.NoError(t, s.write(ctx, func(w *session) error {
					return w.exec(ctx, `UPDATE credentials SET `+column+` = ? WHERE id = ?`, list, c.ID[:])
				}))
				_, err := s.Credentials.ByHash(ctx, c.Hash)
				require.ErrorContains(t, err, column, list)
			}
		}
	})
}

func TestTakeNonceRace_OneOfManyTakesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		stores := [2]*Store{openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})}
		for round := range 10 {
			answers := make([]error, 64)
			var running sync.WaitGroup
			for i := range answers {
				running.Go(func() { answers[i] = stores[i%2].Credentials.TakeNonce(ctx, id(noon, 1), [16]byte{byte(round)}, noon) })
			}
			running.Wait()
			took := 0
			for _, err := range answers {
				if err == nil {
					took++
					continue
				}
				require.ErrorIs(t, err, ErrTaken)
			}
			require.Equal(t, 1, took)
		}
	})
}

func TestSweep_RemovesNoncesAMinuteAfterTheirEnd(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for n := range 1200 {
			expires := noon
			if n >= 1100 {
				expires += otp.Second
			}
			require.NoError(t, s.Credentials.TakeNonce(ctx, id(noon, 1), [16]byte{byte(n), byte(n >> 8)}, expires))
		}
		for at, left := range map[otp.Millis]int{noon: 1200, noon + otp.Minute: 1200} {
			_, err := s.Sweep(ctx, at)
			require.NoError(t, err)
			require.Equal(t, left, count(t, s, `SELECT COUNT(*) FROM nonces`), fmt.Sprint(at))
		}
		_, err := s.Sweep(ctx, noon+otp.Minute+1)
		require.NoError(t, err)
		require.Equal(t, 100, count(t, s, `SELECT COUNT(*) FROM nonces`))
		_, err = s.Sweep(ctx, noon+otp.Hour)
		require.NoError(t, err)
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM nonces`))
	})
}
