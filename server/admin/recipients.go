package admin

import (
	"net/http"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// recipientRoutes are the calls that help recipients, and stop or allow sends.
var recipientRoutes = []route{
	{method: http.MethodPost, path: "/api/recipients/lookup", who: person, needs: people.ReadRecipients,
		call: (*exchange).lookUpRecipient},
	{method: http.MethodPost, path: "/api/recipients/unlock", who: person, needs: people.Unlock, live: true,
		call: (*exchange).unlockRecipient},
}

// whose names a recipient of an account. The whole number or mailbox is typed by whoever asks, so that nothing is
// revealed to them.
type whose struct {
	Account     string          `json:"account"`
	Environment otp.Environment `json:"environment"`
	To          string          `json:"to"`
}

// check refuses what is missing, and accounts that are not the caller's like those that do not exist.
func (w *whose) check(x *exchange) error {
	if err := needed("account", w.Account, "to", w.To); err != nil {
		return err
	}
	if !x.who.MaySee(w.Account) {
		return noSuchAccount()
	}
	return w.Environment.Check()
}

func (x *exchange) lookUpRecipient() (answer, error) {
	asked := whose{Environment: otp.Live}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if err := asked.check(x); err != nil {
		return answer{}, err
	}
	found, err := x.door.Manage.Recipients.Look(x.ctx, x.who.Actor(), asked.Account, asked.Environment, asked.To)
	return answer{http.StatusOK, found}, err
}

func (x *exchange) unlockRecipient() (answer, error) {
	var asked struct {
		whose
		Reason string `json:"reason"`
	}
	asked.Environment = otp.Live
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if err := asked.check(x); err != nil {
		return answer{}, err
	}
	_, err := x.door.Manage.Recipients.Unlock(x.ctx, x.who.Actor(), asked.Account, asked.Environment, asked.To,
		asked.Reason)
	return done, err
}
