package main

import "otpbridge/testclient/conform"

type loadCommand struct{}

// Run makes load.
func (c *loadCommand) Run(process) error {
	return &conform.Trouble{Tried: "this build of testclient makes no load", Remedy: "Build it from a version that has testclient/load."}
}
