package otp

// What a person does at the command line leaves its line in the history like everything else.
const (
	// EventUnlocked: an operator lifted the recipient's locks. It speaks of no challenge.
	EventUnlocked EventKind = "unlocked"
	// CommandLine is the surface of whoever runs a command on the server's machine.
	CommandLine Door = "command"
)
