package engine

import (
	"otpbridge/server/deliver"
)

// Fault is one injected failure, under the name that doors know it by.
type Fault = deliver.Fault

// Forget makes changes to accounts and credentials visible on this server at once.
func (e *Engine) Forget() {
	e.credentials.forget()
	e.accounts.forget()
	e.addresses.forget()
}
