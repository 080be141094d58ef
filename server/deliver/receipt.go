package deliver

import "time"

// Status is what became of a message after the provider had taken it.
type Status string

// The statuses. Delivered and the two that failed are final.
const (
	Pending   Status = "pending"
	Delivered Status = "delivered"
	Failed    Status = "failed"
	Expired   Status = "expired"
)

// statuses are those that a profile may map words to.
var statuses = []Status{Pending, Delivered, Failed, Expired}

// Receipt is what a provider reports about a message later.
type Receipt struct {
	Provider  string // the channel's name
	MessageID string // as in the Result of the send
	Status    Status
	At        time.Time
}
