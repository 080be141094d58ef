package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"otpbridge/testclient/conform"
)

type diffCommand struct {
	A          string `arg:"" help:"A server; URL#ACCOUNT picks one of the accounts that a sandbox shows."`
	B          string `arg:"" help:"The other one."`
	AccessKeyB string `name:"b-access-key" placeholder:"KEY" env:"TESTCLIENT_B_ACCESS_KEY" help:"Access key at B, if it is not A's."`
	CipherKeyB string `name:"b-cipher-key" placeholder:"KEY" env:"TESTCLIENT_B_CIPHER_KEY" help:"Cipher key at B, if it is not A's."`
	CipherIVB  string `name:"b-cipher-iv" placeholder:"IV" env:"TESTCLIENT_B_CIPHER_IV" help:"Cipher IV at B, if it is not A's."`
	Transcript string `placeholder:"FILE" type:"existingfile" help:"Play this recorded conversation instead of the built-in one."`
	given
	reach
}

// Run compares two servers. The exit code is 1 if they differ.
func (c *diffCommand) Run(ctx context.Context, p process) error {
	conversation := conform.Conversation()
	if c.Transcript != "" {
		var err error
		if conversation, err = readTranscript(c.Transcript); err != nil {
			return err
		}
	}
	codes, closing, err := c.codes(p)
	if err != nil {
		return err
	}
	defer closing()
	a, err := c.side(c.A, c.given, codes)
	if err != nil {
		return err
	}
	defer a.Target.Close()
	other := c.given
	if c.AccessKeyB != "" {
		other.AccessKey, other.CipherKey, other.CipherIV = c.AccessKeyB, c.CipherKeyB, c.CipherIVB
	}
	b, err := c.side(c.B, other, codes)
	if err != nil {
		return err
	}
	defer b.Target.Close()

	found, err := conform.Diff(ctx, a, b, conversation)
	if err != nil {
		return err
	}
	return p.differ("A "+a.Name(), "B "+b.Name(), conversation, found)
}

// differ prints what differs between two sides. Its error is the exit code 1 if anything does.
func (p process) differ(a, b string, played *conform.Transcript, found []conform.Difference) error {
	if err := conform.WriteDiff(p.stdout, a, b, played, found); err != nil || len(found) == 0 {
		return err
	}
	return verdict(conform.ExitFail)
}

// side reads URL#ACCOUNT. An account named like that has the keys that the sandbox shows.
func (r reach) side(address string, g given, codes conform.CodeSource) (conform.Side, error) {
	address, account, _ := strings.Cut(address, "#")
	target, err := r.target(address)
	if err != nil {
		return conform.Side{}, err
	}
	mobiles, err := g.mobiles()
	if err != nil {
		return conform.Side{}, err
	}
	side := conform.Side{Target: target, Address: account, Mobiles: mobiles, Codes: codes}
	if account == "" {
		side.AccessKey, side.CipherKey, side.CipherIV = g.AccessKey, g.CipherKey, g.CipherIV
	}
	return side, nil
}

func readTranscript(path string) (*conform.Transcript, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &conform.Trouble{Tried: "open the transcript", Err: err,
			Remedy: "Name a file that the command record has written."}
	}
	defer file.Close()
	return conform.ReadTranscript(file)
}

type replayCommand struct {
	File     string `arg:"" type:"existingfile" help:"A transcript."`
	Target   string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server; URL#ACCOUNT picks one of the accounts that a sandbox shows. Without, a sandbox makes one that is like the recorded one."`
	Settings string `placeholder:"JSON" help:"Columns of the account that a sandbox makes, such as '{\"email_enabled\":true}'."`
	Slow     bool   `help:"Really wait where the recorded conversation paused and the target has no clock to turn."`
	given
	reach
}

// Run plays a transcript. The exit code is 1 if the target answers differently.
func (c *replayCommand) Run(ctx context.Context, p process) error {
	transcript, err := readTranscript(c.File)
	if err != nil {
		return err
	}
	var settings conform.Settings
	if c.Settings != "" {
		if err := json.Unmarshal([]byte(c.Settings), &settings); err != nil {
			return &conform.Trouble{Tried: "read --settings", Err: err, Remedy: "Write a JSON object of columns of an account."}
		}
	}
	codes, closing, err := c.codes(p)
	if err != nil {
		return err
	}
	defer closing()
	side, err := c.side(c.Target, c.given, codes)
	if err != nil {
		return err
	}
	defer side.Target.Close()
	side.Settings, side.Slow = settings, c.Slow
	found, err := conform.Replay(ctx, side, transcript)
	if err != nil {
		return err
	}
	return p.differ("recorded", side.Name(), transcript, found)
}
