package engine

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Callback is what a provider reports about its messages, before anything of it is believed.
type Callback struct {
	Channel string // its name
	Account string // whose channel it is; empty for the server's own
	Secret  string
	Query   url.Values // without the secret
	// ContentType and Body are as they came, at most MaxReport bytes.
	ContentType string
	Body        []byte
	Peer        netip.Addr // who reports; wrong secrets are counted by it, like failed keys
}

// MaxReport bounds the body of a report, in bytes.
const MaxReport = deliver.MaxReport

// reportChunk is how many receipts of one report are recorded at once.
const reportChunk = 64

// RecordReport records a provider's report. What is known of a delivery only ever grows: of reports that
// come twice, late or in any order, those that tell nothing new change nothing. Of a report about
// several messages what can be read and found counts; so a provider that sends it again does no harm.
//
// Refusals: UnknownCredential, also for a channel that there is not; Invalid if nothing in it can be
// read; NotFound if nobody sent any of its messages, or their outcomes are not recorded yet.
func (e *Engine) RecordReport(ctx context.Context, b Callback) error {
	gateway, err := e.gateway(ctx, b)
	if err != nil {
		return err
	}
	receipts := deliver.Receipts{}
	err = deliver.ErrCallbackSecret
	if gateway != nil {
		receipts, err = gateway.ReadReceipts(b.Secret, deliver.Report{Query: b.Query, ContentType: b.ContentType,
			Body: b.Body}, time.Now())
	}
	if errors.Is(err, deliver.ErrCallbackSecret) {
		if _, over := e.CountFailure(ctx, b.Peer); over != nil {
			return over // only for a wrong secret: a right one is always taken
		}
		return otp.Refuse(otp.UnknownCredential, "no channel takes callbacks with this secret")
	}
	e.strangeWords(ctx, b.Channel, receipts.Strange)
	if err != nil {
		e.metrics.receipts.WithLabelValues(b.Channel, "unreadable").Inc()
		return otp.Refuse(otp.Invalid, err.Error())
	}
	var taken atomic.Bool
	for some := range slices.Chunk(receipts.Known, reportChunk) {
		err := eachAtOnce(some, func(r *deliver.Receipt) error {
			found, err := e.recordReceipts(ctx, b.Account, r)
			if found {
				taken.Store(true)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !taken.Load() {
		return otp.Refuse(otp.NotFound, "no message has this id")
	}
	return nil
}

// eachAtOnce does something with each of several at once, so that they share a transaction.
func eachAtOnce[T any](all []T, do func(*T) error) error {
	faults := make([]error, len(all))
	var each sync.WaitGroup
	for i := range all {
		each.Go(func() { faults[i] = do(&all[i]) })
	}
	each.Wait()
	return errors.Join(faults...)
}

// recordReceipts records one receipt, and reports whether it is about a message of ours, or tells nothing.
func (e *Engine) recordReceipts(ctx context.Context, account string, receipt *deliver.Receipt) (found bool, err error) {
	if !receipt.Final() {
		return true, nil
	}
	rows, err := e.store.Deliveries.ByReceipt(ctx, e.receiptHash(receipt.Provider, receipt.MessageID))
	if err != nil {
		return false, err
	}
	result := "unknown"
	for i := range rows {
		if account != "" && rows[i].Account != account {
			continue
		}
		news, err := e.recordReceipt(&rows[i], receipt)
		if err != nil {
			return false, err
		}
		if result = "repeated"; news {
			result = string(receipt.Status)
		}
	}
	e.metrics.receipts.WithLabelValues(receipt.Provider, result).Inc()
	return result != "unknown", nil
}

// maxStrange bounds how many words that profiles do not know are logged until the server restarts.
const maxStrange = 100

// strange remembers the words for a status that were logged.
type strange struct {
	mu    sync.Mutex
	words map[string]bool
}

// remember remembers a word of a channel, and reports whether it is to be logged: once, and not without end.
func (s *strange) remember(channel, word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := channel + " " + word
	if s.words[key] || len(s.words) >= maxStrange {
		return false
	}
	if s.words == nil {
		s.words = map[string]bool{}
	}
	s.words[key] = true
	return true
}

// strangeWords tells the operator which words a channel's profile lacks.
func (e *Engine) strangeWords(ctx context.Context, channel string, words []string) {
	for _, word := range words {
		e.metrics.receipts.WithLabelValues(channel, "unreadable").Inc()
		if e.strange.remember(channel, word) {
			e.log.WarnContext(ctx, "receipt changed nothing: name its status in statuses of the channel's profile", "channel",
				channel, "status", word)
		}
	}
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

// recordReceipt records what became of a delivery, and reports whether that is news.
func (e *Engine) recordReceipt(row *otp.Delivery, receipt *deliver.Receipt) (news bool, err error) {
	arrived := receipt.Status == deliver.Delivered
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
		var summary *otp.Summary
		if receipt.Error != "" {
			summary = &otp.Summary{ProviderError: receipt.Error}
		}
		state.Record(otp.Event{
			Summary: summary, ID: op.Event, At: state.Now, Account: row.Account, Environment: row.Environment, Kind: kind,
			Door:      row.Door,
			Recipient: row.Recipient, Challenge: row.Challenge, Send: row.Send, Channels: row.Medium,
			Sending: otp.Sending{Channels: row.Medium},
		})
		return nil
	}
	return news, e.store.Do(op)
}
