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

// Callback is a provider's report about its messages, not yet checked.
type Callback struct {
	Channel string // its name
	Account string // whose channel it is; empty for the server's own
	Secret  string
	Query   url.Values // without the secret
	// ContentType and Body are as received, at most MaxReport bytes.
	ContentType string
	Body        []byte
	Peer        netip.Addr // the sender of the report; wrong secrets are counted per peer, like failed keys
}

// MaxReport bounds the body of a report, in bytes.
const MaxReport = deliver.MaxReport

// reportChunk is how many receipts of one report are recorded concurrently.
const reportChunk = 64

// RecordReport records a provider's report. Reports may come twice, late or in any order: a report that adds nothing
// to what is known about a delivery changes nothing. From a report about several messages, those that can be read and
// found are recorded; so a provider can safely send it again.
//
// Refusals: UnknownCredential, also for an unknown channel; Invalid if nothing in it can be read; NotFound if none of
// its messages was sent from here, or their outcomes are not recorded yet.
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
		if _, over := e.Limits.CountFailure(ctx, b.Peer); over != nil {
			return over // only for a wrong secret: a right one is always accepted
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

// eachAtOnce calls do for every element concurrently, so that they share a transaction.
func eachAtOnce[T any](all []T, do func(*T) error) error {
	faults := make([]error, len(all))
	var each sync.WaitGroup
	for i := range all {
		each.Go(func() { faults[i] = do(&all[i]) })
	}
	each.Wait()
	return errors.Join(faults...)
}

// recordReceipts records one receipt. It reports true if the receipt is about a message of ours or is not final.
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

// maxStrange bounds how many unknown status words are logged until the server restarts.
const maxStrange = 100

// strange holds the unknown status words that were logged.
type strange struct {
	mu    sync.Mutex
	words map[string]bool
}

// remember records a word of a channel and reports whether to log it: once, and only the first maxStrange words.
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

// strangeWords logs the status words that a channel's profile lacks.
func (e *Engine) strangeWords(ctx context.Context, channel string, words []string) {
	for _, word := range words {
		e.metrics.receipts.WithLabelValues(channel, "unreadable").Inc()
		if e.strange.remember(channel, word) {
			e.log.WarnContext(ctx, "receipt changed nothing: name its status in statuses of the channel's profile", "channel",
				channel, "status", word)
		}
	}
}

// gateway returns the channel that a callback is for, nil for none.
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

// recordReceipt records the outcome of a delivery and reports whether it changed anything.
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
