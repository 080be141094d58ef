package people

import (
	"cmp"
	"context"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Patch is a change of a person; nil leaves a field as it is.
type Patch struct {
	Name        *string
	Role        *Role
	Accounts    *[]string // to nil: all
	Permissions *[]string // to nil: all of the role
	Disabled    *bool
}

// Change changes a person. version is the one that the caller has seen, 0 for any. Switching a person off ends their
// sessions. Refusals: those of touch, Invalid, LastOwner, Outdated.
func (s *Staff) Change(ctx context.Context, who Principal, id string, patch Patch, version int64) (Profile, error) {
	changed := sql.Person{}
	var missing error // returned only after who is known to be allowed to give the grant
	if patch.Accounts != nil {
		missing = exist(ctx, s.p.Store, *patch.Accounts)
	}
	err := s.touch(ctx, who, id, true, func(tx *sql.Tx, person sql.Person, at otp.Millis) error {
		if version != 0 && version != person.Version {
			return outdated()
		}
		after := person
		if err := patch.apply(&after, at); err != nil {
			return err
		}
		if err := cmp.Or(s.mayGive(who, grantOf(after)), missing); err != nil {
			return err
		}
		if err := keepsAnOwner(tx, person, after); err != nil {
			return err
		}
		after.UpdatedAt = at
		kept, err := tx.UpdatePerson(after)
		if err == nil && !kept {
			err = outdated()
		}
		if err == nil && after.DisabledAt != 0 {
			_, err = tx.EndSessions(person.ID, otp.ID{}, at)
		}
		if err == nil && (after.DisabledAt != 0 || !grantOf(person).within(grantOf(after))) {
			err = s.p.rows.EndTicketsBy(tx, person.ID, at) // they could grant what the person no longer has
		}
		if err != nil {
			return err
		}
		changed, changed.Version = after, after.Version+1
		return record(tx, otp.PersonChanged, who.Actor(), person.ID, at, describe(person, after)...)
	})
	return profile(changed), err
}

func (c Patch) apply(person *sql.Person, at otp.Millis) error {
	if c.Name != nil {
		if err := checkName(*c.Name); err != nil {
			return err
		}
		person.Name = *c.Name
	}
	person.Role = string(otp.ValueOr(c.Role, Role(person.Role)))
	person.Accounts = otp.ValueOr(c.Accounts, person.Accounts)
	person.Permissions = otp.ValueOr(c.Permissions, person.Permissions)
	if c.Disabled != nil {
		switch {
		case !*c.Disabled:
			person.DisabledAt = 0
		case person.DisabledAt == 0:
			person.DisabledAt = at
		}
	}
	return nil
}

func outdated() error {
	return otp.Refuse(otp.Outdated, "the person was changed meanwhile; read it again")
}

// describe returns the differences after a change, for the history.
func describe(before, after sql.Person) (details []string) {
	add := func(name, was, is string) {
		if was != is {
			details = append(details, name, was+" → "+is)
		}
	}
	off := map[bool]string{true: "off", false: "on"}
	add("name", before.Name, after.Name)
	add("role", before.Role, after.Role)
	add("accounts", listed(before.Accounts), listed(after.Accounts))
	add("permissions", listed(before.Permissions), listed(after.Permissions))
	add("switched", off[before.DisabledAt != 0], off[after.DisabledAt != 0])
	return details
}

// keepsAnOwner refuses a change that would leave the server without an owner.
func keepsAnOwner(tx *sql.Tx, before, after sql.Person) error {
	owns := func(p sql.Person) bool { return p.Role == string(Owner) && p.DisabledAt == 0 }
	if !owns(before) || owns(after) {
		return nil
	}
	others, err := tx.Owners(string(Owner), before.ID)
	if err == nil && others == 0 {
		err = otp.Refuse(otp.LastOwner, "this is the last owner; make somebody else an owner first")
	}
	return err
}
