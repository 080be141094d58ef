package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/people"
)

type keyringCommand struct {
	New     keyringNewCommand     `cmd:"" help:"Make a new key."`
	Add     keyringAddCommand     `cmd:"" help:"Make a new key and put it into a keyring file."`
	Promote keyringPromoteCommand `cmd:"" help:"Make a key in a keyring file the primary key."`
	Remove  keyringRemoveCommand  `cmd:"" help:"Remove an unused key from a keyring file."`
	Rotate  keyringRotateCommand  `cmd:"" help:"Encrypt all stored data again with the primary key, while servers run."`
	Status  keyringStatusCommand  `cmd:"" help:"Show how much stored data needs each key."`

	ReceiptKey receiptKeyCommand `cmd:"" name:"receipt-key" help:"Replace the key that signs receipts, while servers run."`
}

type receiptKeyCommand struct {
	Compromised bool `help:"The former key was stolen: remove it from the key set at once, which invalidates every receipt that it signed."`
	asJSON
}

type keyringNewCommand struct {
	ID   string `arg:"" optional:"" help:"The key's id, 1 to 32 of A-Z a-z 0-9 . _ -; without one today's date and six characters that no other key has."`
	File string `placeholder:"FILE" help:"Write a keyring with this key alone to a new file that only its owner may read. An existing file is not changed."`
}

type keyringAddCommand struct {
	ID    string `arg:"" optional:"" help:"The key's id, 1 to 32 of A-Z a-z 0-9 . _ -; without one today's date and six characters that no other key has."`
	File  string `required:"" placeholder:"FILE" help:"The keyring. Only its owner may read it."`
	First bool   `help:"Make it the primary key at once. Only if a single server uses this keyring."`
}

type keyringPromoteCommand struct {
	ID   string `arg:"" help:"The key's id."`
	File string `required:"" placeholder:"FILE" help:"The keyring. Only its owner may read it."`
}

type keyringRemoveCommand struct {
	ID   string `arg:"" help:"The key's id."`
	File string `required:"" placeholder:"FILE" help:"The keyring. Only its owner may read it."`
}

type keyringRotateCommand struct{ asJSON }

type keyringStatusCommand struct{ asJSON }

// Help implements kong.HelpProvider.
func (keyringNewCommand) Help() string {
	return `The first keyring of an installation:

    otpbridge keyring new --file /etc/otpbridge/keyring

To add a key for a rotation, use otpbridge keyring add. Without --file the key is printed, for keyrings that are kept elsewhere.

It reads no setting. Back up the keyring, apart from the database: without it the database cannot be read.`
}

// Help implements kong.HelpProvider.
func (keyringRotateCommand) Help() string {
	return `A rotation without downtime:

  1. otpbridge keyring add --file FILE         and restart every server: all can decrypt with the new key
  2. otpbridge keyring promote ID --file FILE  and restart every server: all encrypt with it
  3. otpbridge keyring rotate                  it may be interrupted; repeat it until it is done
  4. otpbridge keyring status                  an hour and a half later nothing needs the former key; rotate once more
  5. otpbridge keyring remove ID --file FILE   and restart every server

With one server, keyring add --first does both 1 and 2. Run it with the servers' settings.

It does not replace the keys that are stored encrypted: the one that signs receipts (otpbridge keyring receipt-key), the
index key, the accounts' cipher keys and the signing secrets of API keys.`
}

// Help implements kong.HelpProvider.
func (receiptKeyCommand) Help() string {
	return `Servers publish the new key at /.well-known/jwks.json within 3 seconds and sign with it after 10 seconds; none needs a
restart. The former key stays in the set for a quarter of an hour, until its last receipt has expired.

With --compromised the former key leaves the set within 3 seconds and the new one signs at once. Verifiers may cache the key
set for a minute: tell those who check receipts to fetch it again.`
}

// Run replaces the key.
func (k receiptKeyCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		made, err := at.Keyring.ReplaceReceiptKey(ctx, people.Operator().Actor(), k.Compromised)
		if err != nil {
			return err
		}
		return k.print(p.stdout, made, func(w io.Writer) {
			fmt.Fprintf(w, "Receipts are signed with key %s from %s on.\n", made.ID, made.SignsFrom.Format(time.RFC3339))
			if len(made.Removed) > 0 {
				fmt.Fprintf(w, "Removed: %s.\n", strings.Join(made.Removed, ", "))
			}
		})
	})
}

// Help implements kong.HelpProvider.
func (keyringStatusCommand) Help() string {
	return "Reads every encrypted value, and changes nothing. Remove a key from the keyring only when this command " +
		"says that you may."
}

// Help implements kong.HelpProvider.
func (keyringAddCommand) Help() string {
	return `The file is locked, checked, and replaced as a whole, so that a server that starts meanwhile reads a complete keyring. It keeps its owner and mode 0600. The last word that is printed is the key's id:

    otpbridge keyring add --file /etc/otpbridge/keyring

It reads no setting. Back up the keyring, apart from the database.`
}

// Help implements kong.HelpProvider.
func (keyringPromoteCommand) Help() string {
	return "New data is encrypted with the first key of the keyring. Every server must have the key before one of " +
		"them is restarted with it in front.\n\nIt reads no setting."
}

// Help implements kong.HelpProvider.
func (keyringRemoveCommand) Help() string {
	return "Refuses if something in the database that the settings name needs the key. Keep the removed line with " +
		"the backups that were made before: they need it."
}

// newKeyID returns a unique id. It has random characters because two rotations of one day must differ.
func newKeyID() string {
	return time.Now().UTC().Format(time.DateOnly) + "-" + strings.ToLower(rand.Text()[:6])
}

// chosenKeyID returns the id that the caller asked for, or a new one.
func chosenKeyID(asked string) (string, error) {
	if asked == "" {
		return newKeyID(), nil
	}
	if !crypto.ValidKeyID(asked) {
		return "", unusable{errors.New("the id is not 1 to 32 of A-Z a-z 0-9 . _ -")}
	}
	return asked, nil
}

// Run makes the key.
func (k keyringNewCommand) Run(p process) error {
	id, err := chosenKeyID(k.ID)
	if err != nil {
		return err
	}
	if k.File == "" {
		_, err := io.WriteString(p.stdout, crypto.NewKeyringText(id))
		return err
	}
	if _, err := os.Lstat(k.File); !errors.Is(err, fs.ErrNotExist) {
		return unusable{fmt.Errorf("%s is there already, and a keyring that is overwritten makes its database unreadable; "+
			"to add a key: otpbridge keyring add --file %s", k.File, k.File)}
	}
	if err := makeKeyringFile(k.File, id); err != nil {
		return fmt.Errorf("make %s: %w", k.File, err)
	}
	return p.say("Made a keyring with key %s in %s. Back it up, apart from the database.\n", id, k.File)
}

// Run adds a key to a file.
func (k keyringAddCommand) Run(p process) error {
	id, err := chosenKeyID(k.ID)
	if err != nil {
		return err
	}
	made := strings.TrimSpace(crypto.NewKeyringText(id))
	err = editKeyring(k.File, func(lines []string) ([]string, error) {
		if keyLine(lines, id) >= 0 {
			return nil, fmt.Errorf("%s has a key %q already; give the new one another id", k.File, id)
		}
		if k.First {
			return slices.Insert(lines, firstKey(lines), made), nil
		}
		return append(lines, made), nil
	})
	if err != nil {
		return err
	}
	return p.say("Restart every server, and back the keyring up. Added key %s\n", id)
}

// Run moves a key's line to the front of a keyring file.
func (k keyringPromoteCommand) Run(p process) error {
	err := editKeyring(k.File, func(lines []string) ([]string, error) {
		at := keyLine(lines, k.ID)
		if at < 0 {
			return nil, noSuchKey(k.File, k.ID)
		}
		line := lines[at]
		lines = slices.Delete(lines, at, at+1)
		return slices.Insert(lines, max(firstKey(lines), 0), line), nil
	})
	if err != nil {
		return err
	}
	return p.say("Restart every server. The primary key is %s\n", k.ID)
}

// Run removes a key from a keyring file.
func (k keyringRemoveCommand) Run(p process) error {
	err := work(p, func(ctx context.Context, at *workplace) error {
		uses, err := at.Keyring.Uses(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(uses, func(use manage.KeyUse) bool { return use.ID == k.ID })
		if i >= 0 && !uses[i].Removable() {
			return unusable{fmt.Errorf("key %s stays: %s", k.ID, verdict(uses[i]))}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = editKeyring(k.File, func(lines []string) ([]string, error) {
		at := keyLine(lines, k.ID)
		if at < 0 {
			return nil, noSuchKey(k.File, k.ID)
		}
		return slices.Delete(lines, at, at+1), nil
	})
	if err != nil {
		return err
	}
	return p.say("Restart every server, and keep the line beside backups that were made before. "+
		"Removed key %s\n", k.ID)
}

// Run seals every stored value under the primary key.
func (k keyringRotateCommand) Run(p process) error {
	type result struct {
		Primary string          `json:"primary"`
		Retired []string        `json:"retired"`
		Keys    []manage.KeyUse `json:"keys"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		resealed := map[string]int{}
		told := time.Now()
		retired, err := at.Keyring.Reseal(ctx, people.Operator().Actor(), func(now manage.Resealing) {
			resealed[now.Column] = now.Resealed
			if time.Since(told) > time.Second {
				told = time.Now()
				fmt.Fprintf(p.stderr, "%s: looked at %d, sealed %d anew\n", now.Column, now.Looked, now.Resealed)
			}
		})
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("interrupted; what was sealed anew stays so, run it again for the rest")
		}
		if err != nil {
			return err
		}
		uses, err := at.Keyring.Uses(ctx)
		if err != nil {
			return err
		}
		done := result{Primary: uses[0].ID, Retired: append([]string{}, retired...), Keys: uses}
		return k.print(p.stdout, done, func(w io.Writer) {
			total := 0
			for _, n := range resealed {
				total += n
			}
			fmt.Fprintf(w, "Sealed %d values anew under key %s.\n", total, uses[0].ID)
			writeUses(w, uses)
		})
	})
}

// Run shows the keys.
func (k keyringStatusCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		uses, err := at.Keyring.Uses(ctx)
		if err != nil {
			return err
		}
		return k.print(p.stdout, uses, func(w io.Writer) { writeUses(w, uses) })
	})
}

func writeUses(w io.Writer, uses []manage.KeyUse) {
	rows := []string{"KEY\tSEALED VALUES\tLIVE CODES\t"}
	for _, use := range uses {
		rows = append(rows, strings.Join([]string{use.ID, strconv.Itoa(use.Uses() - use.Codes), strconv.Itoa(use.Codes),
			verdict(use)}, "\t"))
	}
	table(w, rows...)
}

// verdict returns what a person should do about a key.
func verdict(use manage.KeyUse) string {
	switch {
	case use.Primary:
		return "primary: seals what is new"
	case use.Removable() && use.Held:
		return "not needed: remove its line from every keyring and restart"
	case use.Uses() == 0 && use.Recorded:
		return "nothing is sealed under it: otpbridge keyring rotate retires it"
	case use.Uses() == use.Codes:
		return "needed for codes that were sent: wait until they are forgotten, an hour after they expire, then rotate again"
	case len(use.Sealed) > 0 && !use.Held:
		return "MISSING from this keyring, and needed"
	}
	return "needed for " + columns(use.Sealed) + ": otpbridge keyring rotate"
}

func columns(sealed map[string]int) string {
	return strings.Join(slices.Sorted(maps.Keys(sealed)), ", ")
}
