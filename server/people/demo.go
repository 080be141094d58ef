package people

import (
	"context"
	"errors"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// DemoOwner is the address of the owner that a sandbox on loopback begins with. No message can reach it.
const DemoOwner = "owner@sandbox.example"

// OpenDemo makes the demo owner of a sandbox where there are no people yet, and returns the password. It returns
// the same one at every later start, and none once somebody has changed it, where others came before, and outside
// a sandbox.
//
// The password is kept nowhere: it is computed from the person's id, which is random, with the database's index key.
// So two sandboxes never have the same one, even with one keyring between them.
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
	if errors.Is(err, sql.ErrTaken) { // by another server, which started at the same time
		return p.OpenDemo(ctx)
	}
	return password, err
}

// demoPassword has 80 random bits, in groups that can be read aloud.
func (p *People) demoPassword(person otp.ID) string {
	sum := p.Vault.Index.Sum("password of a sandbox's demo owner", string(person[:]))
	text := backupText.EncodeToString(sum[:10])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}
