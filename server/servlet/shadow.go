package servlet

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// comparing bounds how long an answer of the upstream waits for the comparison.
const comparing = time.Second

// Reasons why the local rules find a guess wrong that the upstream finds right.
const (
	wrongLength = "wrong_length"
	unreadable  = "unreadable_code"
)

// compare decides a call that the upstream has answered by the local rules too, and records a difference. The answer
// is always the upstream's. What the rules cannot know is not compared: whether a message arrived, and what an unknown
// text means.
func (x *exchange) compare(ctx context.Context, caller *engine.Caller, body []byte, class string) {
	if class == classOther || class == string(undelivered) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), comparing)
	defer cancel()
	x.request.Body = io.NopCloser(bytes.NewReader(body))
	decision, differs, err := x.decideInShadow(ctx, caller, class)
	x.reason = ""
	switch {
	case err != nil:
		x.door.log.LogAttrs(ctx, slog.LevelWarn, "a call was not compared with its upstream's answer",
			slog.String("account", x.account.Address), slog.Any("error", err))
	case differs:
		x.differs = decision
	}
}

func (x *exchange) decideInShadow(ctx context.Context, caller *engine.Caller, class string) (decision string,
	differs bool, err error) {
	accepted := class == string(generated) || class == string(verified)
	call := engine.ShadowCall{Permission: permissions[x.servlet.step], Accepted: accepted, Agrees: x.agrees(class),
		Right: class == string(verified) || class == string(expired)}
	p, target, refusal := x.asked(caller)
	if refusal != nil {
		return otp.KindOf(refusal).String(), !call.Agrees(refusal), nil
	}
	if x.servlet.step == validate {
		call.Guess = x.guess(caller, p)
	}
	differs, refusal, err = x.door.engine.Shadow(ctx, caller, target, call)
	_, decision, _ = judge(refusal)
	switch {
	case !call.Right || otp.KindOf(refusal) != otp.WrongCode:
	case call.Guess == "":
		decision = unreadable
	case len(call.Guess) != x.account.Length:
		decision = wrongLength
	}
	return decision, differs, err
}

// agrees returns a function that reports whether a decision is answered with the text of a class.
func (x *exchange) agrees(class string) func(error) bool {
	return func(decision error) bool {
		found, _, _ := judge(decision)
		says := found.at(x.servlet.step)
		return string(says) == class || says == silence && class == classSilence
	}
}
