package engine

import (
	"otpbridge/server/deliver"
)

// Fault is one injected failure, under the name that doors know it by.
type Fault = deliver.Fault

// Forget lets this server see at once what was changed of accounts and credentials.
func (e *Engine) Forget() {
	e.credentials.forget()
	e.accounts.forget()
	e.addresses.forget()
}
