package engine

import (
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

// Fault is one injected failure, under the name that doors know it by.
type Fault = deliver.Fault

// Faults is the table of injected faults; nil in production.
func (e *Engine) Faults() *deliver.Faults { return e.options.Faults }

// InjectedFault is for the sandbox: it returns an error or panics where a fault is set for the
// door and account, and returns nil otherwise and always in production.
func (e *Engine) InjectedFault(door otp.Door, account string) error {
	if e.options.Faults == nil {
		return nil
	}
	fault, strikes := e.options.Faults.Strike(string(door), account)
	switch {
	case !strikes:
		return nil
	case fault.Kind == "panic":
		panic(deliver.ErrInjected)
	}
	return deliver.ErrInjected
}

// Forget lets this server see at once what was changed of accounts and credentials.
func (e *Engine) Forget() {
	e.credentials.forget()
	e.accounts.forget()
}
