package manage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Settings returns the settings that Change can change. Kind, environment and account cannot change.
func (k *Key) Settings() NewKey {
	n := NewKey{
		Name: k.Name, Permissions: slices.Clone(k.Permissions), AllowedIPs: slices.Clone(k.AllowedIPs),
		DeniedIPs: slices.Clone(k.DeniedIPs), AllowedOrigins: slices.Clone(k.AllowedOrigins),
		RequestsPerMinute: k.RequestsPerMinute, Burst: k.Burst, Signing: k.Signing, Disabled: k.Disabled,
	}
	if k.ExpiresAt != 0 {
		ends := k.ExpiresAt.Time()
		n.ExpiresAt = &ends
	}
	return n
}

// Change changes a key's settings, if nobody else has changed it since it was seen. If its requests are to be signed
// from now on, it returns a signing secret, which is shown only once. Refusals: NotFound; Outdated; Invalid, which
// names the field, or for a revoked key; Forbidden or by.Unproved for a change that loosens.
func (c Keys) Change(ctx context.Context, by By, seen Key, n NewKey) (Key, crypto.Secret, error) {
	refuse := func(err error) (Key, crypto.Secret, error) { return Key{}, crypto.Secret{}, err }
	now := time.Now()
	old, err := c.key(ctx, by, seen.ID)
	if err != nil {
		return refuse(err)
	}
	row, signing, err := c.resettle(&old, n, now)
	if err != nil {
		return refuse(refuseMember(err))
	}
	if loosens(&old, &row) {
		if err := by.mayGive(&row); err != nil {
			return refuse(err)
		}
	}
	details := []string{}
	before, after := described(&old), described(&row)
	for i := 0; i < len(after); i += 2 {
		if before[i+1] != after[i+1] {
			details = append(details, after[i], cmp.Or(after[i+1], "none"))
		}
	}
	if old.Version == seen.Version && len(details) == 0 {
		return keyOf(&old, otp.At(now)), signing, nil
	}
	row.Version = seen.Version
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		updated, err := c.store.Credentials.Update(tx, &row)
		if err != nil {
			return err
		}
		if !updated {
			return otp.Refuse(otp.Outdated, "the key was changed meanwhile; read it again, and send its ETag in If-Match")
		}
		return recordKey(tx, otp.KeyChanged, by.Actor, &row, otp.At(now), details...)
	})
	row.Version++
	return keyOf(&row, otp.At(now)), signing, err
}

// resettle returns a key's row with new settings, checked like those of a new key.
func (c *core) resettle(old *sql.Credential, n NewKey, now time.Time) (row sql.Credential, signing crypto.Secret,
	err error) {
	if old.RevokedAt != 0 {
		return row, signing, errors.New("id: the key is revoked, and nothing of it can be changed; make a new one")
	}
	n.Account, n.Kind, n.Environment, n.ends = old.Address, otp.KeyKind(old.Kind), old.Environment, old.ExpiresAt
	if err := c.checkKey(&n, now); err != nil {
		return row, signing, err
	}
	if !old.Successor.IsZero() && (n.ExpiresAt == nil || n.ExpiresAt.After(now.Add(maxGrace))) {
		return row, signing, fmt.Errorf("expires_at: the key has a successor and ends within %v; rotate that one instead",
			maxGrace)
	}
	row = *old
	row.Name, row.Permissions, row.AllowedIPs, row.DeniedIPs = n.Name, n.Permissions, n.AllowedIPs, n.DeniedIPs
	row.AllowedOrigins, row.RequestsPerMinute, row.Burst = n.AllowedOrigins, n.RequestsPerMinute, n.Burst
	row.Signing, row.Enabled, row.ExpiresAt = string(n.Signing), !n.Disabled, 0
	if n.ExpiresAt != nil {
		row.ExpiresAt = otp.At(*n.ExpiresAt)
	}
	switch {
	case n.Signing == otp.SigningOff:
		row.SigningSecret = nil
	case row.SigningSecret == nil:
		signing = c.giveSigning(&row)
	}
	return row, signing, nil
}

// giveSigning gives a row a signing secret, sealed, and returns it in clear.
func (c *core) giveSigning(row *sql.Credential) crypto.Secret {
	signing := crypto.NewSecret([]byte(crypto.NewSigningSecret()))
	row.SigningSecret = c.vault.Keyring.Seal(vault.Signing(row.ID), signing.Bytes())
	return signing
}

// loosens reports whether a changed key may do more, or may be used longer, from more places or with less proof than
// before. If that is unclear it returns true.
func loosens(old, row *sql.Credential) bool {
	more := func(before, after []string) bool {
		return slices.ContainsFunc(after,
			func(entry string) bool { return !slices.Contains(before, entry) })
	}
	wider := func(before, after []string) bool { return before != nil && (after == nil || more(before, after)) }
	raised := func(before, after *int) bool {
		return after == nil && before != nil || after != nil && (before == nil || *after > *before)
	}
	proof := []otp.Signing{otp.SigningOff, otp.SigningOptional, otp.SigningRequired}
	kind := otp.KeyKind(row.Kind)
	return more(kind.Effective(old.Permissions), kind.Effective(row.Permissions)) ||
		slices.Contains(row.Permissions, otp.Everything) && !slices.Contains(old.Permissions, otp.Everything) ||
		wider(old.AllowedIPs, row.AllowedIPs) || more(row.DeniedIPs, old.DeniedIPs) ||
		wider(old.AllowedOrigins, row.AllowedOrigins) ||
		raised(old.RequestsPerMinute, row.RequestsPerMinute) || raised(old.Burst, row.Burst) ||
		slices.Index(proof, otp.Signing(row.Signing)) < slices.Index(proof, otp.Signing(old.Signing)) ||
		row.Enabled && !old.Enabled || old.ExpiresAt != 0 && (row.ExpiresAt == 0 || row.ExpiresAt > old.ExpiresAt)
}

// Narrower has the rights of a compromised key's successor, which are at most those of the key.
type Narrower struct {
	Permissions []string // nil: those used in 30 days, or if none the key's; never debug
	AllowedIPs  []string // nil: the key's
}

const revokedAlready = "id: the key is revoked already; make a new one"

// successorLife is how long the successor of a compromised key is valid at most.
const successorLife = 90 * otp.Day

// Compromised ends a key that somebody else may have at once, and makes a successor with fewer rights that ends within
// 90 days, unless it has a successor already. It returns the key with its use, and for the successor what Create
// returns. Refusals: NotFound; Invalid for a revoked key, or naming the field that exceeds the key's rights;
// Forbidden; by.Unproved.
func (c Keys) Compromised(ctx context.Context, by By, id otp.ID, narrow Narrower) (key, successor Key,
	secret, signing crypto.Secret, err error) {
	old, err := c.key(ctx, by, id)
	if err == nil {
		key, err = c.Find(ctx, by, id)
	}
	if err == nil && old.RevokedAt != 0 {
		err = otp.Refuse(otp.Invalid, revokedAlready)
	}
	if err != nil {
		return key, successor, secret, signing, err
	}
	now := otp.At(time.Now())
	row := c.successorOf(&old, now)
	if row.Permissions, row.AllowedIPs, err = narrow.of(&key); err != nil {
		return key, successor, secret, signing, refuseMember(err)
	}
	if err := by.mayGive(&row); err != nil {
		return key, successor, secret, signing, err
	}
	if row.ExpiresAt = now + successorLife; old.ExpiresAt > now {
		row.ExpiresAt = min(row.ExpiresAt, old.ExpiresAt)
	}
	row.Enabled = true
	secret, signing = c.giveSecrets(&row, "")
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		var ended bool
		if old.Successor.IsZero() {
			ended, err = c.store.Credentials.Replace(tx, id, &row, now)
		} else {
			ended, err = c.store.Credentials.Revoke(tx, id, now)
		}
		if err == nil && !ended {
			err = errNotDone
		}
		if err != nil {
			return err
		}
		details := []string{"calls_30d", strconv.FormatInt(key.Use.Calls, 10), "last_used_ip", key.Use.Address,
			"look_at", LookAt(&key)}
		if old.Successor.IsZero() {
			details = append(details, "successor", row.ID.Text("key"))
		}
		return recordKey(tx, otp.KeyCompromised, by.Actor, &old, now, details...)
	})
	if errors.Is(err, errNotDone) { // somebody else ended it just now
		err = otp.Refuse(otp.Invalid, revokedAlready)
	}
	if err != nil {
		return key, successor, crypto.Secret{}, crypto.Secret{}, fmt.Errorf("revoke the key: %w", err)
	}
	key.Status, key.RevokedAt = KeyRevoked, now
	if !old.Successor.IsZero() {
		return key, successor, crypto.Secret{}, crypto.Secret{}, nil
	}
	key.Successor = row.ID
	return key, keyOf(&row, now), secret, signing, nil
}

// LookAt returns the path that lists the calls that were made with a key.
func LookAt(key *Key) string { return "/api/audit?credential=" + key.ID.Text("key") }

// of returns the successor's permissions and networks.
func (n Narrower) of(key *Key) (permissions, networks []string, err error) {
	if err := checkList("permissions", n.Permissions); err != nil {
		return nil, nil, err
	}
	if err := checkList("allowed_ips", n.AllowedIPs); err != nil {
		return nil, nil, err
	}
	had := slices.DeleteFunc(key.Kind.Effective(key.Permissions), func(p string) bool { return p == otp.PermitDebug })
	permissions, networks = n.Permissions, n.AllowedIPs
	if permissions == nil {
		permissions = slices.DeleteFunc(slices.Clone(had),
			func(p string) bool { return !slices.Contains(key.Use.Permissions, p) })
		if len(permissions) == 0 {
			permissions = had
		}
	}
	if len(permissions) == 0 { // which would be those of the kind
		return nil, nil, errors.New("permissions: the key has none that a successor could have; " +
			"revoke it, and make a new one")
	}
	if networks == nil {
		networks = key.AllowedIPs
	}
	for i, permission := range permissions {
		if !slices.Contains(had, permission) {
			return nil, nil, fmt.Errorf("permissions[%d]: %q is none of the key's, %s", i, permission, strings.Join(had, ", "))
		}
	}
	if err := checkNetworks("allowed_ips", networks); err != nil {
		return nil, nil, err
	}
	for i, text := range networks {
		if network, _ := otp.ParseNetwork(text); key.AllowedIPs != nil && !within(network, key.AllowedIPs) {
			return nil, nil, fmt.Errorf("allowed_ips[%d]: %q is outside of the key's own, %s", i, text,
				strings.Join(key.AllowedIPs, ", "))
		}
	}
	return permissions, networks, nil
}

// within reports whether one of the networks in list contains network.
func within(network netip.Prefix, list []string) bool {
	return slices.ContainsFunc(list, func(text string) bool {
		outer, err := otp.ParseNetwork(text)
		return err == nil && outer.Bits() <= network.Bits() && outer.Contains(network.Addr())
	})
}
