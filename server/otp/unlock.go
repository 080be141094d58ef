package otp

// Commands on the server's machine are recorded in the history too.
const (
	// EventUnlocked: an operator lifted the recipient's locks. It refers to no challenge.
	EventUnlocked EventKind = "unlocked"
	// CommandLine is the door of commands on the server's machine.
	CommandLine Door = "command"
)
