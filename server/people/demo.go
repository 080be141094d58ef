package people

import (
	"context"
	"errors"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// DemoOwner is the address of the first owner of a sandbox on loopback. It cannot receive mail.
const DemoOwner = "owner@sandbox.example"

// OpenDemo makes the demo owner of a sandbox without people, and returns the password. Every later start returns the
// same password. It returns none if somebody has changed it, if the first person was somebody else, and outside a
// sandbox.
//
// The password is not stored: it is computed from the person's random id with the database's index key. So two
// sandboxes never have the same password, even if they share a keyring.
func (p *People) OpenDemo(ctx context.Context) (string, error) {
	if !p.Sandbox {
		return "", nil
	}
	everybody, err := p.rows.List(ctx)
	if err != nil {
		return "", err
	}
	for _, person := range everybody {
		if person.Email == DemoOwner {
			password := p.demoPassword(person.ID)
			right, _, err := p.Passwords.Check(ctx, password, person.PasswordHash)
			if err != nil || !right {
				return "", err
			}
			return password, nil
		}
	}
	if len(everybody) > 0 {
		return "", nil
	}
	return p.makeDemo(ctx)
}

func (p *People) makeDemo(ctx context.Context) (string, error) {
	at := now()
	person := sql.Person{ID: sql.NewID(), Email: DemoOwner, Name: "Demo Owner", Role: string(Owner), Version: 1,
		CreatedAt: at, UpdatedAt: at}
	password := p.demoPassword(person.ID)
	var err error
	if person.PasswordHash, err = p.Passwords.Hash(ctx, password); err != nil {
		return "", err
	}
	err = p.Store.Change(ctx, func(tx *sql.Tx) error {
		if err := tx.InsertPerson(person); err != nil {
			return err
		}
		return record(tx, otp.PersonRegistered, otp.Actor{Kind: "server"}, person.ID, at, "role", person.Role,
			"accounts", listed(nil))
	})
	if errors.Is(err, sql.ErrTaken) { // another server started at the same time
		return p.OpenDemo(ctx)
	}
	return password, err
}

// demoPassword returns the demo owner's password: 80 bits, in groups that can be read aloud.
func (p *People) demoPassword(person otp.ID) string {
	sum := p.Vault.Index.Sum("password of a sandbox's demo owner", string(person[:]))
	text := backupText.EncodeToString(sum[:10])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}
