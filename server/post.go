package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"otpbridge/config"
	"otpbridge/server/audit"
	"otpbridge/server/deliver"
	"otpbridge/server/people"
	"otpbridge/sql"
)

// How many mails are sent at once, how many wait or are being sent at most, and how long one may take, which includes
// trying every mail server.
const (
	postAtOnce   = 4
	postWaiting  = 256
	postPatience = time.Minute
)

// mailCheckpoints is the pause between two mails of a checkpoint of the audit log, and mailAgain that after one that
// was not sent.
const (
	mailCheckpoints = 24 * time.Hour
	mailAgain       = 10 * time.Minute
)

// post sends mails to people who log in and to operators, through the mail servers in order of preference.
type post struct {
	servers   []deliver.Channel
	operators []string
	keepers   []string
	log       *slog.Logger
	slots     chan struct{}
	waiting   atomic.Int64
	running   sync.WaitGroup
	ended     context.Context
	end       context.CancelFunc

	mu     sync.Mutex
	mailed map[string]time.Time // when each of keepers was last mailed a checkpoint
}

// newPost returns a post that sends through the SMTP servers among out's e-mail channels.
func newPost(out outlets, log *slog.Logger) *post {
	p := &post{log: log, slots: make(chan struct{}, postAtOnce), operators: out.operators, keepers: out.keepers,
		servers: mailServers(out.email), mailed: map[string]time.Time{}}
	p.ended, p.end = context.WithCancel(context.Background())
	return p
}

// mailServers returns the SMTP servers among channels, without gateways: many have their own text, which is about a
// code.
func mailServers(channels []deliver.Channel) (servers []deliver.Channel) {
	for _, c := range channels {
		if _, is := deliver.Innermost(c).(*deliver.Mailer); is {
			servers = append(servers, c)
		}
	}
	return servers
}

// readMailboxes parses a setting with mailboxes.
func readMailboxes(text config.Secret, email []deliver.Channel) (all []string, err error) {
	if text.Empty() {
		return nil, nil
	}
	for one := range strings.SplitSeq(text.Reveal(), ",") {
		mailbox, err := deliver.Mailbox(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("mailbox %d: %w", len(all)+1, err)
		}
		all = append(all, mailbox)
	}
	if len(mailServers(email)) == 0 {
		return nil, errors.New("nobody can be mailed: name an smtp: or smtps: server in " + config.Prefix + "EMAIL_CHANNELS")
	}
	return all, nil
}

// toPeople returns the function that package people sends mails with; nil without a mail server.
func (p *post) toPeople() func(people.Mail) {
	if len(p.servers) == 0 {
		return nil
	}
	return p.post
}

// toOperators returns the function that alerts are mailed with; nil without a mailbox for alerts.
func (p *post) toOperators() func(subject, text string) {
	if len(p.operators) == 0 {
		return nil
	}
	return func(subject, text string) { p.toAll(p.operators, subject, text) }
}

func (p *post) toAll(mailboxes []string, subject, text string) {
	for _, to := range mailboxes {
		p.post(people.Mail{To: to, Subject: subject, Text: text})
	}
}

// checkpoint mails a checkpoint of the audit log to those who keep one, once a day. Who did not get it, because no mail
// server was reached, gets one ten minutes later.
func (p *post) checkpoint(c audit.Checkpoint, now time.Time) {
	for _, to := range p.keepers {
		if !p.takesTurn(to, now) {
			continue
		}
		m := people.Mail{To: to, Subject: "OTPBridge audit checkpoint", Text: "The audit log has " +
			strconv.FormatInt(c.Size, 10) + " entries. Keep this mail. Save the lines below to a file: " +
			"otpbridge audit verify --since FILE\nthen shows whether an older entry was changed.\n\n" + c.Note}
		p.postOr(m, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.mailed[to] = now.Add(mailAgain - mailCheckpoints)
		})
	}
}

// takesTurn reports whether somebody is to be mailed a checkpoint at now, and notes that.
func (p *post) takesTurn(keeper string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.mailed[keeper]) < mailCheckpoints {
		return false
	}
	p.mailed[keeper] = now
	return true
}

// post sends a mail in the background, and drops it with a warning if too many are waiting.
func (p *post) post(m people.Mail) { p.postOr(m, func() {}) }

// postOr is post; unsent is called if the mail surely was not sent.
func (p *post) postOr(m people.Mail, unsent func()) {
	if p.waiting.Add(1) > postWaiting {
		p.waiting.Add(-1)
		p.log.Warn("a mail was not sent: too many are waiting", "subject", m.Subject)
		unsent()
		return
	}
	p.running.Go(func() {
		defer p.waiting.Add(-1)
		p.slots <- struct{}{}
		defer func() { <-p.slots }()
		if !p.send(m) {
			unsent()
		}
	})
}

// send reports whether a mail was sent, or may have been.
func (p *post) send(m people.Mail) bool {
	ctx, cancel := context.WithTimeout(p.ended, postPatience)
	defer cancel()
	id := sql.NewID().Text("mail")
	message := deliver.Message{ID: id, SendID: id, Number: 1, Medium: "email", To: m.To,
		Content: func() (deliver.Content, error) { return deliver.Content{Subject: m.Subject, Text: m.Text}, nil }}
	for _, server := range p.servers {
		result := server.Send(ctx, message)
		if result.Outcome != deliver.NotSent {
			return true // sending it twice is worse than not at all
		}
		p.log.Warn("a mail was not sent", "channel", server.Name(), "subject", m.Subject, "reason",
			result.Reason)
	}
	return false
}

// close waits for the mails that are being sent. When ctx ends it cuts them off.
func (p *post) close(ctx context.Context) {
	defer context.AfterFunc(ctx, p.end)()
	p.running.Wait()
	p.end()
}
