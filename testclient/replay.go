package main

import (
	"context"
	"encoding/json"

	"otpbridge/testclient/conform"
)

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
	if err := conform.WriteDiff(p.stdout, "recorded", side.Name(), transcript, found); err != nil {
		return err
	}
	if len(found) > 0 {
		return verdict(conform.ExitFail)
	}
	return nil
}
