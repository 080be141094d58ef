package engine

import (
	"context"
	"errors"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Callback is what a provider reports about a message, before anything of it is believed.
type Callback struct {
	Channel string // its name
	Account string // whose channel it is; empty for the server's own
	Secret  string
	Fields  map[string]string
}

// Reported takes a provider's report. What is known of a delivery only ever grows: of reports that
// come twice, late or in any order, those that tell nothing new change nothing.
//
// Refusals: UnknownCredential, also for a channel that there is not; Invalid; NotFound for a
// message that nobody sent, or whose outcome is not recorded yet.
func (e *Engine) Reported(ctx context.Context, b Callback) error {
	gateway, err := e.gateway(ctx, b)
	if err != nil {
		return err
	}
	receipt := deliver.Receipt{}
	err = deliver.ErrCallbackSecret
	if gateway != nil {
		receipt, err = gateway.ReadReceipt(b.Secret, b.Fields, time.Now())
	}
	switch {
	case errors.Is(err, deliver.ErrCallbackSecret):
		return otp.Refuse(otp.UnknownCredential, "no channel takes callbacks with this secret")
	case err != nil:
		e.metrics.receipts.WithLabelValues(b.Channel, "unreadable").Inc()
		return otp.Refuse(otp.Invalid, err.Error())
	case receipt.Status == deliver.Pending:
		return nil
	}
	rows, err := e.store.DeliveriesOf(ctx, e.receiptHash(receipt.Provider, receipt.MessageID))
	if err != nil {
		return err
	}
	result := "unknown"
	for i := range rows {
		if b.Account != "" && rows[i].Account != b.Account {
			continue
		}
		news, err := e.report(&rows[i], receipt.Status == deliver.Delivered)
		if err != nil {
			return err
		}
		if result = "repeated"; news {
			result = string(receipt.Status)
		}
	}
	e.metrics.receipts.WithLabelValues(receipt.Provider, result).Inc()
	if result == "unknown" {
		return otp.Refuse(otp.NotFound, "no message has this id")
	}
	return nil
}

// gateway is the channel that a callback is for, nil for none.
func (e *Engine) gateway(ctx context.Context, b Callback) (*deliver.Gateway, error) {
	lists := [][]deliver.Channel{e.options.SMS, e.options.Email}
	if b.Account != "" {
		settings, err := e.accounts.value(ctx, b.Account)
		if err != nil {
			return nil, err
		}
		lists = [][]deliver.Channel{settings.sms, settings.email}
	}
	for _, list := range lists {
		for _, channel := range list {
			if gateway, ok := deliver.Innermost(channel).(*deliver.Gateway); ok && gateway.Name() == b.Channel {
				return gateway, nil
			}
		}
	}
	return nil, nil
}

// report records what became of a delivery, and tells whether that is news.
func (e *Engine) report(row *otp.Delivery, arrived bool) (news bool, err error) {
	op := &sql.Operation{
		Event: sql.NewID(), Account: row.Account, Recipient: row.Recipient, Challenge: row.Challenge, Delivery: row.ID,
		Now: otp.At(time.Now()),
	}
	op.Decide = func(state *sql.State) error {
		if news = state.Delivery.Report(arrived); !news {
			return nil
		}
		kind := otp.EventUndelivered
		if arrived {
			kind = otp.EventDelivered
		}
		state.Record(otp.Event{
			ID: op.Event, At: state.Now, Account: row.Account, Environment: row.Environment, Kind: kind, Door: row.Door,
			Recipient: row.Recipient, Challenge: row.Challenge, Send: row.Send, Channels: row.Medium,
		})
		return nil
	}
	return news, e.store.Do(op)
}
