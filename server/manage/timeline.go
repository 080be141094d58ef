package manage

import (
	"context"
	"time"

	"otpbridge/server/otp"
)

// Happening is one line of a recipient's history.
type Happening struct {
	At        time.Time     `json:"at"`
	Kind      otp.EventKind `json:"kind"`
	Door      otp.Door      `json:"door"`
	Challenge string        `json:"challenge,omitempty"`
	Send      int           `json:"send,omitempty"`               // which send of the challenge, from 1
	Left      *int          `json:"attempts_remaining,omitempty"` // after a wrong guess; nil for other kinds
	Passages  []Passage     `json:"deliveries,omitempty"`         // of a send, one for each medium
	Error     string        `json:"error,omitempty"`              // the provider's reason code, if it reported one
}

// Passage says how one send went on one medium.
type Passage struct {
	Medium  string `json:"medium"`  // sms or email
	Channel string `json:"channel"` // the last one that was tried
	Outcome string `json:"outcome"` // one of otp's outcomes, or Waiting
}

// Waiting is the outcome of a send that no channel has taken yet.
const Waiting = "waiting"

// inbox is the channel of sends that never leave the process.
const inbox = "inbox"

// maxHistory is how many lines of a recipient's history are shown.
const maxHistory = 50

// timeline returns the history of a recipient's last 24 hours, newest first.
func (c Recipients) timeline(ctx context.Context, address string, hash otp.ID) ([]Happening, error) {
	events, err := c.store.Challenges.RecipientHistory(ctx, address, hash, otp.At(time.Now())-otp.Day, maxHistory)
	if err != nil {
		return nil, err
	}
	passages, err := c.passages(ctx, events)
	if err != nil {
		return nil, err
	}
	history := make([]Happening, len(events))
	for i := range events {
		e := &events[i]
		h := Happening{At: e.At.Time(), Kind: e.Kind, Door: e.Door, Send: e.Send, Passages: passages[e.ID]}
		if !e.Challenge.IsZero() {
			h.Challenge = e.Challenge.Text("otp")
		}
		if e.Kind == otp.EventWrong {
			h.Left = &e.Remaining
		}
		if e.Summary != nil {
			h.Error = e.Summary.ProviderError
		}
		history[i] = h
	}
	return history, nil
}

// isSend reports whether an event put a message on its way.
func isSend(e *otp.Event) bool { return e.Kind == otp.EventSent || e.Kind == otp.EventResent }

// passages returns how each send among the events went, by the id of its event.
func (c Recipients) passages(ctx context.Context, events []otp.Event) (map[otp.ID][]Passage, error) {
	var ids []otp.ID
	for i := range events {
		if isSend(&events[i]) {
			for _, medium := range events[i].Channels.Each() {
				ids = append(ids, otp.DeliveryID(events[i].ID, medium))
			}
		}
	}
	found, err := c.store.Deliveries.ByIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows := map[otp.ID]*otp.Delivery{}
	for i := range found {
		rows[found[i].ID] = &found[i]
	}
	all := map[otp.ID][]Passage{}
	for i := range events {
		e := &events[i]
		if !isSend(e) {
			continue
		}
		for _, medium := range e.Channels.Each() {
			p := Passage{Medium: medium.String(), Channel: inbox, Outcome: string(simulatedOutcome(e, events))}
			if row := rows[otp.DeliveryID(e.ID, medium)]; row != nil {
				p.Channel, p.Outcome = row.Channel, string(row.Outcome)
			}
			if p.Outcome == "" {
				p.Outcome = Waiting
			}
			all[e.ID] = append(all[e.ID], p)
		}
	}
	return all, nil
}

// simulatedOutcome returns how a send without a row in the outbox went, empty if it has not ended. Such a send goes to
// the inbox: its COMMIT hands it over, unless the JSON API recorded that it waits.
func simulatedOutcome(sent *otp.Event, events []otp.Event) otp.Outcome {
	for i := range events {
		e := &events[i]
		if e.Challenge != sent.Challenge || e.Send != sent.Send {
			continue
		}
		switch e.Kind {
		case otp.EventUnsent:
			return otp.OutcomeUnsent
		case otp.EventUnknown:
			return otp.OutcomeUnknown
		case otp.EventTaken:
			return otp.OutcomeSent
		}
	}
	if sent.Summary != nil && !sent.Summary.Taken {
		return ""
	}
	return otp.OutcomeSent
}
