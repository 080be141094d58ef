package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/people"
	"otpbridge/sql"
)

// How many mails to people are sent at once, and how long one may take, in which every mail server is tried.
const (
	postAtOnce   = 4
	postPatience = time.Minute
)

// post sends mails to the people who run the server, through its mail servers, in order of preference.
type post struct {
	servers []deliver.Channel
	log     *slog.Logger
	slots   chan struct{}
	running sync.WaitGroup
	ended   context.Context
	end     context.CancelFunc
}

// newPost takes the mail servers among the channels for e-mail. Gateways are left out: many keep the text themselves,
// and know only that of a code.
func newPost(channels []deliver.Channel, log *slog.Logger) *post {
	p := &post{log: log, slots: make(chan struct{}, postAtOnce)}
	p.ended, p.end = context.WithCancel(context.Background())
	for _, c := range channels {
		if _, is := deliver.Innermost(c).(*deliver.Mailer); is {
			p.servers = append(p.servers, c)
		}
	}
	return p
}

// mail is what People send with; nil without a mail server.
func (p *post) mail() func(people.Mail) {
	if len(p.servers) == 0 {
		return nil
	}
	return func(m people.Mail) {
		select {
		case p.slots <- struct{}{}:
		default:
			p.log.Warn("a mail to a person was not sent: too many are being sent", "subject", m.Subject)
			return
		}
		p.running.Go(func() {
			defer func() { <-p.slots }()
			p.send(m)
		})
	}
}

func (p *post) send(m people.Mail) {
	ctx, cancel := context.WithTimeout(p.ended, postPatience)
	defer cancel()
	id := sql.NewID().Text("mail")
	message := deliver.Message{ID: id, SendID: id, Number: 1, Medium: "email", To: m.To,
		Content: func() (deliver.Content, error) { return deliver.Content{Subject: m.Subject, Text: m.Text}, nil }}
	for _, server := range p.servers {
		result := server.Send(ctx, message)
		if result.Outcome != deliver.NotSent {
			return // it was sent, or may have been: twice is worse than not at all
		}
		p.log.Warn("a mail to a person was not sent", "channel", server.Name(), "subject", m.Subject, "reason",
			result.Reason)
	}
}

// close waits until the mails that are being sent are, at most until ctx ends.
func (p *post) close(ctx context.Context) {
	defer context.AfterFunc(ctx, p.end)()
	p.running.Wait()
	p.end()
}
