package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Use is how a key was used. It is at most a minute old.
type Use struct {
	At          otp.Millis // the last time; 0: never
	Address     string     // of the last use
	Calls       int64      // in 30 days
	Permissions []string   // that were used in 30 days
	Network     string     // of the uses in 30 days; empty for none, sql.ManyNetworks for several
	// OnOld is the percentage of today's calls that still use a rotated key and not its successor. Nil: not rotated,
	// or no calls today. The day begins at midnight in UTC.
	OnOld *int
}

// useDays is how many days advice looks back, including today.
const useDays = 30

// fillUses sets the Use of keys.
func (c *core) fillUses(ctx context.Context, keys []Key, now otp.Millis) error {
	ids := make([]otp.ID, 0, len(keys))
	for i := range keys {
		ids = append(ids, keys[i].ID)
		if !keys[i].Successor.IsZero() {
			ids = append(ids, keys[i].Successor)
		}
	}
	today := sql.DayOf(now)
	days, err := c.store.Credentials.Days(ctx, ids, today-useDays+1)
	if err != nil {
		return err
	}
	of := map[otp.ID][]sql.KeyDay{}
	for _, day := range days {
		of[day.ID] = append(of[day.ID], day)
	}
	for i := range keys {
		use := &keys[i].Use
		old, all := use.add(of[keys[i].ID], today), new(Use).add(of[keys[i].Successor], today)
		if all += old; all > 0 && !keys[i].Successor.IsZero() {
			share := int(old * 100 / all)
			use.OnOld = &share
		}
	}
	return nil
}

// add adds the use of days, and returns the calls of today.
func (u *Use) add(days []sql.KeyDay, today int64) (calls int64) {
	used := int64(0)
	for _, day := range days {
		u.Calls += day.Calls
		used |= day.Permissions
		if u.Network == "" || u.Network == day.Network {
			u.Network = day.Network
		} else {
			u.Network = sql.ManyNetworks
		}
		if day.Day == today {
			calls += day.Calls
		}
	}
	for _, permission := range otp.Permissions() {
		if used&otp.PermissionBit(permission) != 0 {
			u.Permissions = append(u.Permissions, permission)
		}
	}
	return calls
}

// Advice is what to do about a key, and why.
type Advice struct {
	Code   string // stable, for programs
	Reason string
	Remedy string // a call
}

// Advise returns what to do about an active key.
func (k *Key) Advise(now otp.Millis) (all []Advice) {
	if k.Status != KeyActive {
		return nil
	}
	path := "/api/keys/" + k.ID.Text("key")
	list := func(texts []string) string {
		encoded, err := json.Marshal(texts)
		if err != nil {
			panic(err) // strings always have JSON
		}
		return string(encoded)
	}
	age := now - k.CreatedAt
	if k.Use.Calls == 0 && age >= useDays*otp.Day {
		all = append(all, Advice{"unused", "it was not used for 30 days", "DELETE " + path})
	}
	if age >= otp.RotationAge {
		all = append(all, Advice{"old", fmt.Sprintf("it is %d days old", age/otp.Day), "POST " + path +
			`/rotate {"grace":"24h"}`})
	}
	if k.Use.Network != "" && k.Use.Network != sql.ManyNetworks && k.AllowedIPs == nil {
		all = append(all, Advice{"one_network", "it was used from " + k.Use.Network +
			" only, and may be used from everywhere",
			"PATCH " + path + ` {"allowed_ips":` + list([]string{k.Use.Network}) + "}"})
	}
	if may := k.Kind.Effective(k.Permissions); len(k.Use.Permissions) > 0 && len(k.Use.Permissions) < len(may) {
		all = append(all, Advice{"unused_permissions", "it used " + strings.Join(k.Use.Permissions, ", ") +
			" only, and may " + strings.Join(may, ", "), "PATCH " + path + ` {"permissions":` + list(k.Use.Permissions) + "}"})
	}
	return all
}
