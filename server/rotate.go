package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/manage"
)

type keyringCommand struct {
	New     keyringNewCommand     `cmd:"" help:"Make a new key."`
	Add     keyringAddCommand     `cmd:"" help:"Make a new key and put it into a keyring file."`
	Promote keyringPromoteCommand `cmd:"" help:"Make a key of a keyring file the primary one."`
	Remove  keyringRemoveCommand  `cmd:"" help:"Take a key that nothing needs out of a keyring file."`
	Rotate  keyringRotateCommand  `cmd:"" help:"Seal everything at rest under the primary key, beside running servers."`
	Status  keyringStatusCommand  `cmd:"" help:"Show what still needs which key."`

	ReceiptKey receiptKeyCommand `cmd:"" name:"receipt-key" help:"Replace the key that signs receipts, beside running servers."`
}

type receiptKeyCommand struct {
	Compromised bool `help:"The key is in wrong hands: remove it from the key set at once, and every receipt that it signed with it."`
	asJSON
}

type keyringNewCommand struct {
	ID   string `arg:"" optional:"" help:"The key's id, 1 to 32 of A-Z a-z 0-9 . _ -; without one today's date and six characters that no other key has."`
	File string `placeholder:"FILE" help:"Make a keyring of this key alone in a file that only its owner may read. A file that is there is never touched."`
}

type keyringAddCommand struct {
	ID    string `arg:"" optional:"" help:"The key's id, 1 to 32 of A-Z a-z 0-9 . _ -; without one today's date and six characters that no other key has."`
	File  string `required:"" placeholder:"FILE" help:"The keyring. Only its owner may read it."`
	First bool   `help:"Make it the primary key at once, where one server alone has this keyring."`
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

// Help is shown below the flags.
func (keyringNewCommand) Help() string {
	return `The first keyring of an installation:

    otpbridge keyring new --file /etc/otpbridge/keyring

A further key for a rotation is made and put behind the others by otpbridge keyring add. Without --file the key is printed, for keyrings that are kept elsewhere.

No setting is read. Back the keyring up, apart from the database: without it the database cannot be read.`
}

// Help is shown below the flags.
func (keyringRotateCommand) Help() string {
	return `A rotation, with no pause for anybody:

  1. otpbridge keyring add --file FILE         and restart every server: all can open what the new key will seal
  2. otpbridge keyring promote ID --file FILE  and restart every server: all seal with it
  3. otpbridge keyring rotate                  as often as it takes; it may be interrupted
  4. otpbridge keyring status                  an hour and a half later nothing needs the former key; rotate once more
  5. otpbridge keyring remove ID --file FILE   and restart every server

With one server, keyring add --first is both 1 and 2. The settings are those of the servers.

It replaces no key that is sealed itself: not the one that signs receipts (otpbridge keyring receipt-key), not the index
key, not the accounts' cipher keys and the signing secrets of API keys.`
}

// Help is shown below the flags.
func (receiptKeyCommand) Help() string {
	return `Servers publish the new key at /.well-known/jwks.json within 3 seconds and sign with it 10 seconds from now; none needs a
restart. The former key stays in the set until its last receipt has expired, a quarter of an hour, and then leaves.

With --compromised the former key leaves the set within 3 seconds and the new one signs at once. Verifiers may keep a key set
for a minute: tell those who check receipts to fetch it anew.`
}

// Run replaces the key.
func (k receiptKeyCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		made, err := at.Keyring.ReplaceReceiptKey(ctx, k.Compromised)
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

// Help is shown below the flags.
func (keyringStatusCommand) Help() string {
	return "Reads every sealed value there is, and changes nothing. A key may be taken out of the keyring when it says " +
		"so here."
}

// Help is shown below the flags.
func (keyringAddCommand) Help() string {
	return `The file is locked, checked, and replaced as a whole, so that a server that starts meanwhile reads a whole keyring; it keeps its owner, and mode 0600. The key's id is the last word of what is printed:

    otpbridge keyring add --file /etc/otpbridge/keyring

No setting is read. Back the keyring up, apart from the database.`
}

// Help is shown below the flags.
func (keyringPromoteCommand) Help() string {
	return "Everything new is sealed under the first key of a keyring. Every server has to have the key before one of " +
		"them is restarted with it in front.\n\nNo setting is read."
}

// Help is shown below the flags.
func (keyringRemoveCommand) Help() string {
	return "Asks the database that the settings name whether something needs the key, and refuses if so. Keep the line " +
		"beside backups that were made before."
}

// newKeyID is an id that no other key has: rotations of one day have to differ.
func newKeyID() string {
	return time.Now().UTC().Format(time.DateOnly) + "-" + strings.ToLower(rand.Text()[:6])
}

// chosenKeyID is the id that was asked for, or a new one.
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
	_, err = fmt.Fprintf(p.stdout, "Made a keyring with key %s in %s. Back it up, apart from the database.\n", id, k.File)
	return err
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
	_, err = fmt.Fprintf(p.stdout, "Restart every server, and back the keyring up. Added key %s\n", id)
	return err
}

// Run moves a key to the front of a file.
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
	_, err = fmt.Fprintf(p.stdout, "Restart every server. The primary key is %s\n", k.ID)
	return err
}

// Run takes a key out of a file.
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
	_, err = fmt.Fprintf(p.stdout, "Restart every server, and keep the line beside backups that were made before. "+
		"Removed key %s\n", k.ID)
	return err
}

// Run seals everything anew.
func (k keyringRotateCommand) Run(p process) error {
	type result struct {
		Primary string          `json:"primary"`
		Retired []string        `json:"retired"`
		Keys    []manage.KeyUse `json:"keys"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		resealed := map[string]int{}
		told := time.Now()
		retired, err := at.Keyring.Reseal(ctx, func(now manage.Resealing) {
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

// verdict says what is to be done about a key.
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
	var names []string
	for name := range sealed {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
