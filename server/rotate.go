package main

import (
	"context"
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
	"otpbridge/server/engine"
)

type keyringCommand struct {
	New    keyringNewCommand    `cmd:"" help:"Make a new key."`
	Rotate keyringRotateCommand `cmd:"" help:"Seal everything at rest under the primary key, beside running servers."`
	Status keyringStatusCommand `cmd:"" help:"Show what still needs which key."`
}

type keyringNewCommand struct {
	ID   string `arg:"" optional:"" help:"The key's id, 1 to 32 of A-Z a-z 0-9 . _ -; without one today's date."`
	File string `placeholder:"FILE" help:"Make a keyring of this key alone in a file that only its owner may read. A file that is there is never touched."`
}

type keyringRotateCommand struct{ asJSON }

type keyringStatusCommand struct{ asJSON }

// Help is shown below the flags.
func (keyringNewCommand) Help() string {
	return `The first keyring of an installation:

    otpbridge keyring new --file /etc/otpbridge/keyring

A further key for a rotation, put behind the others:

    otpbridge keyring new >> /etc/otpbridge/keyring

No setting is read. Back the keyring up, apart from the database: without it the database cannot be read.`
}

// Help is shown below the flags.
func (keyringRotateCommand) Help() string {
	return `A rotation, with no pause for anybody:

  1. otpbridge keyring new >> keyring       put a new key last, and restart every server: all can open what it seals
  2. move its line to the top               and restart every server: all seal with it
  3. otpbridge keyring rotate               as often as it takes; it may be interrupted
  4. otpbridge keyring status               an hour and a half later nothing needs the former key
  5. remove its line                        and restart every server

With one server, 1 and 2 are one step. The settings are those of the servers.`
}

// Help is shown below the flags.
func (keyringStatusCommand) Help() string {
	return "Reads every sealed value there is, and changes nothing. A key may be taken out of the keyring when it says so here."
}

// Run makes the key.
func (k keyringNewCommand) Run(p process) error {
	if k.ID == "" {
		k.ID = time.Now().UTC().Format(time.DateOnly)
	}
	if !crypto.ValidKeyID(k.ID) {
		return unusable{errors.New("the id is not 1 to 32 of A-Z a-z 0-9 . _ -")}
	}
	if k.File == "" {
		_, err := io.WriteString(p.stdout, crypto.NewKeyringText(k.ID))
		return err
	}
	if _, err := os.Lstat(k.File); !errors.Is(err, fs.ErrNotExist) {
		return unusable{fmt.Errorf("%s is there already, and a keyring that is overwritten makes its database unreadable; to add a key: otpbridge keyring new >> %s", k.File, k.File)}
	}
	if err := makeKeyringFile(k.File, k.ID); err != nil {
		return fmt.Errorf("make %s: %w", k.File, err)
	}
	_, err := fmt.Fprintf(p.stdout, "Made a keyring with key %s in %s. Back it up, apart from the database.\n", k.ID, k.File)
	return err
}

// Run seals everything anew.
func (k keyringRotateCommand) Run(p process) error {
	type result struct {
		Primary string          `json:"primary"`
		Retired []string        `json:"retired"`
		Keys    []engine.KeyUse `json:"keys"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		resealed := map[string]int{}
		told := time.Now()
		retired, err := at.Reseal(ctx, func(now engine.Resealing) {
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
		uses, err := at.KeyUses(ctx)
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
		uses, err := at.KeyUses(ctx)
		if err != nil {
			return err
		}
		return k.print(p.stdout, uses, func(w io.Writer) { writeUses(w, uses) })
	})
}

func writeUses(w io.Writer, uses []engine.KeyUse) {
	rows := []string{"KEY\tSEALED VALUES\tLIVE CODES\t"}
	for _, use := range uses {
		rows = append(rows, strings.Join([]string{use.ID, strconv.Itoa(use.Uses() - use.Codes), strconv.Itoa(use.Codes), verdict(use)}, "\t"))
	}
	table(w, rows...)
}

// verdict says what is to be done about a key.
func verdict(use engine.KeyUse) string {
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
