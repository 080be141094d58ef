package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// The times of Once.
const (
	claimLease = 10 * time.Second       // of a claim; renewed three times in it while its work goes on
	claimWait  = 5 * time.Second        // how long a second request waits for the first one's answer
	claimLook  = 100 * time.Millisecond // how often it looks
)

// Answer is a door's answer, stored for repetition.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	Body   []byte            `json:"body,omitempty"`
}

// Once runs do once for a credential and the client's idempotency key, whichever server a repeated request reaches and
// whatever server dies in between. Every repetition within 24 hours gets the first answer, and replayed is true.
// request is a hash of the whole request.
//
// Before do runs, a claim is stored with the id that do must use for its challenge (Send) or its event (ResendNamed).
// A server that takes over a dead server's claim uses the same id: if redo finds the work done it returns the answer,
// else do runs again, and the id's primary key prevents doing the work twice. A refusal of do is returned and not
// stored, because it changed nothing. After a fault, which may have changed something, the claim is open to takeover.
//
// Refusals: IdempotencyMismatch for another request under the key; IdempotencyBusy if the first one takes longer than
// the wait; those of do.
func (e *Engine) Once(ctx context.Context, credential otp.ID, key string, request [32]byte,
	do func(challenge otp.ID) (Answer, error), redo func(challenge otp.ID) (Answer, bool,
		error)) (answer Answer, replayed bool, err error) {
	hash := e.index.Sum("idempotency", string(credential[:]), key)
	for waited := time.Now(); ; {
		first, err := e.store.Claims.Find(ctx, credential, hash)
		switch now := otp.At(time.Now()); {
		case errors.Is(err, sql.ErrNotFound):
			claim := &sql.Claim{
				Credential: credential, Key: hash, Request: request, Challenge: sql.NewID(),
				ClaimedUntil: now + otp.Span(claimLease), CreatedAt: now,
			}
			switch err := e.store.Claims.Insert(ctx, claim); {
			case errors.Is(err, sql.ErrTaken): // another was faster
				continue
			case err != nil:
				return Answer{}, false, err
			}
			answer, err := e.work(ctx, claim, func() (Answer, error) { return do(claim.Challenge) })
			return answer, false, err
		case err != nil:
			return Answer{}, false, err
		case now >= first.CreatedAt+sql.IdempotencyMemory:
			if err := e.store.Claims.Expire(ctx, first); err != nil {
				return Answer{}, false, err
			}
			continue
		case first.Request != request:
			return Answer{}, false, otp.Refuse(otp.IdempotencyMismatch,
				"the Idempotency-Key was used for another request; use a new one")
		case first.Answer != nil:
			answer, err := e.openAnswer(first)
			return answer, true, err
		case now >= first.ClaimedUntil:
			until := now + otp.Span(claimLease)
			taken, err := e.store.Claims.Hold(ctx, first, until)
			if err != nil {
				return Answer{}, false, err
			}
			if !taken {
				continue
			}
			first.ClaimedUntil = until
			return e.takeOver(ctx, first, do, redo)
		case time.Since(waited) >= claimWait:
			return Answer{}, false, &otp.Error{
				Kind: otp.IdempotencyBusy, Message: "the first request with this Idempotency-Key is still being served",
				RetryAfter: (first.ClaimedUntil - now).Duration(),
			}
		}
		select {
		case <-time.After(claimLook):
		case <-ctx.Done():
			return Answer{}, false, ctx.Err()
		}
	}
}

// Anew is the redo of Once for work that only has to be done again: the id that do gets, or a rule of the work's own,
// says whether anything is left to do.
func Anew(otp.ID) (Answer, bool, error) { return Answer{}, false, nil }

// takeOver does what is left to do of a claim whose server died.
func (e *Engine) takeOver(ctx context.Context, claim *sql.Claim, do func(otp.ID) (Answer, error),
	redo func(otp.ID) (Answer, bool, error)) (Answer, bool, error) {
	replayed := false
	answer, err := e.work(ctx, claim, func() (Answer, error) {
		answer, done, err := redo(claim.Challenge)
		if replayed = done && err == nil; done || err != nil {
			return answer, err
		}
		return do(claim.Challenge)
	})
	return answer, replayed, err
}

// work does a claim's work, renews its lease meanwhile, and stores the answer. It does not depend on the client, who
// may come back for the answer.
func (e *Engine) work(ctx context.Context, claim *sql.Claim, do func() (Answer, error)) (answer Answer, err error) {
	ctx = context.WithoutCancel(ctx)
	release := e.keepClaim(ctx, claim)
	panicked := true
	defer func() {
		release()
		if panicked {
			e.giveUp(ctx, claim)
		}
	}()
	answer, err = do()
	panicked = false
	release()
	if _, refused := errors.AsType[*otp.Error](err); refused {
		if dropped := e.store.Claims.Drop(ctx, claim); dropped != nil {
			e.log.WarnContext(ctx, "idempotency key could not be given up", "error", dropped)
		}
		return answer, err
	}
	if err != nil {
		e.giveUp(ctx, claim)
		return answer, err
	}
	return e.keepAnswer(ctx, claim, answer)
}

// keepClaim renews the lease until release is called. release may be called more than once.
func (e *Engine) keepClaim(ctx context.Context, claim *sql.Claim) (release func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(claimLease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			until := otp.At(time.Now()) + otp.Span(claimLease)
			held, err := e.store.Claims.Hold(ctx, claim, until)
			if err == nil && !held {
				return // another server has it; the challenge's id prevents doing it twice
			}
			if err == nil {
				claim.ClaimedUntil = until
			}
		}
	}()
	released := false
	return func() {
		if !released {
			released = true
			close(stop)
			<-stopped
		}
	}
}

// giveUp opens a claim to takeover at once, because it is not known how far its work came.
func (e *Engine) giveUp(ctx context.Context, claim *sql.Claim) {
	if _, err := e.store.Claims.Hold(ctx, claim, otp.At(time.Now())); err != nil {
		e.log.WarnContext(ctx, "idempotency key could not be given up; it is once its lease has ended", "error", err)
	}
}

// keepAnswer stores the answer, or returns the one that another server stored first. If it cannot be stored the work
// is still done; a repetition rebuilds the answer.
func (e *Engine) keepAnswer(ctx context.Context, claim *sql.Claim, answer Answer) (Answer, error) {
	text, err := json.Marshal(answer)
	if err != nil {
		return answer, fmt.Errorf("encode answer: %w", err)
	}
	claim.Status, claim.Answer = answer.Status, e.keyring.Seal(vault.Claim(claim), text)
	kept, err := e.store.Claims.Answer(ctx, claim)
	if err == nil && !kept {
		if first, err := e.store.Claims.Find(ctx, claim.Credential, claim.Key); err == nil && first.Answer != nil &&
			first.Challenge == claim.Challenge {
			return e.openAnswer(first)
		}
	}
	if err != nil {
		e.log.WarnContext(ctx, "answer could not be kept under its idempotency key", "error", err)
	}
	return answer, nil
}

func (e *Engine) openAnswer(claim *sql.Claim) (answer Answer, err error) {
	text, err := e.keyring.Open(vault.Claim(claim), claim.Answer)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("open the answer of an idempotency key: %w", err)
	}
	return answer, nil
}
