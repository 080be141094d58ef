package main

import (
	"context"
	"fmt"
)

// unknown is an id that no challenge has.
const unknown = "otp_00000000000000000000000000"

// judged reports what is wrong with a refusal. Every field of it has a type of its own; a client needs no map.
func judged(p *Problem, status int, code string, body []byte) error {
	if p == nil || p.Status != status || p.Code != code || p.Detail == "" || p.Message != p.Detail ||
		p.Title == "" || p.RequestId == "" || p.Type != ProblemTypeAboutBlank {
		return fmt.Errorf("want %d %s, answered %s", status, code, body)
	}
	return nil
}

// judgedInvalid is judged for a request with one fault, at this pointer.
func judgedInvalid(p *Invalid, pointer string, body []byte) error {
	if p == nil || p.Status != 400 || p.Code != "INVALID_REQUEST" || len(p.Errors) != 1 ||
		p.Errors[0].Pointer == nil || *p.Errors[0].Pointer != pointer || p.Errors[0].Detail == "" {
		return fmt.Errorf("want a fault at %s, answered %s", pointer, body)
	}
	return nil
}

func sendRefused(ctx context.Context, api *ClientWithResponses) error {
	short := 1
	answer, err := api.SendWithResponse(ctx, nil,
		SendRequest{To: mobile, Method: MethodSms, Type: Verification, Ttl: &short})
	if err != nil {
		return err
	}
	return judgedInvalid(answer.ApplicationproblemJSON400, "/ttl", answer.Body)
}

func verifyRefused(ctx context.Context, api *ClientWithResponses) error {
	answer, err := api.VerifyWithResponse(ctx, nil, VerifyRequest{To: &mobile, Code: "letters"})
	if err != nil {
		return err
	}
	return judgedInvalid(answer.ApplicationproblemJSON400, "/code", answer.Body)
}

func statusRefused(ctx context.Context, api *ClientWithResponses) error {
	answer, err := api.StatusWithResponse(ctx, unknown, nil)
	if err != nil {
		return err
	}
	return judged(answer.ApplicationproblemJSON404, 404, "NOT_FOUND", answer.Body)
}

func resendRefused(ctx context.Context, api *ClientWithResponses) error {
	answer, err := api.ResendWithResponse(ctx, nil, ResendRequest{To: &mobile})
	if err != nil {
		return err
	}
	return judged(answer.ApplicationproblemJSON409, 409, "CANCELED", answer.Body)
}

func cancelRefused(ctx context.Context, api *ClientWithResponses) error {
	id := unknown
	answer, err := api.CancelWithResponse(ctx, nil, CancelRequest{Id: &id})
	if err != nil {
		return err
	}
	return judged(answer.ApplicationproblemJSON404, 404, "NOT_FOUND", answer.Body)
}

func strangerRefused(ctx context.Context, api *ClientWithResponses) error {
	answer, err := api.StatusWithResponse(ctx, unknown, nil)
	if err != nil {
		return err
	}
	if answer.Headers401 == nil || answer.Headers401.WWWAuthenticate == "" {
		return fmt.Errorf("no WWW-Authenticate: %s", answer.Status())
	}
	return judged(answer.ApplicationproblemJSON401, 401, "AUTH_003", answer.Body)
}
