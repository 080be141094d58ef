// Command client goes through a challenge's life with a client that a generator made of the OpenAPI document. It
// prints a line for each step that went as documented, and ends at the first that did not.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var target, mobile = os.Getenv("TARGET"), os.Getenv("MOBILE")

func run(ctx context.Context) error {
	api, err := NewClientWithResponses(target, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))
		return nil
	}))
	if err != nil {
		return err
	}
	stranger, err := NewClientWithResponses(target)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		run  func(context.Context, *ClientWithResponses) error
	}{
		{"send, verify, status", verified},
		{"resend, cancel", canceled},
		{"send refused", sendRefused},
		{"verify refused", verifyRefused},
		{"status refused", statusRefused},
		{"resend refused", resendRefused},
		{"cancel refused", cancelRefused},
	} {
		if err := step.run(ctx, api); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println("ok", step.name)
	}
	if err := strangerRefused(ctx, stranger); err != nil {
		return fmt.Errorf("no key: %w", err)
	}
	fmt.Println("ok no key")
	return nil
}

func send(ctx context.Context, api *ClientWithResponses) (*Challenge, error) {
	sent, err := api.SendWithResponse(ctx, nil, SendRequest{To: mobile, Method: MethodSms, Type: Verification})
	if err != nil {
		return nil, err
	}
	made := sent.JSON201
	if made == nil || made.Status != StatusQueued || !made.ExpiresAt.After(made.CreatedAt) {
		return nil, fmt.Errorf("send: %s %s", sent.Status(), sent.Body)
	}
	return made, nil
}

// received is the code of the newest message to the recipient, as the sandbox shows it.
func received() (string, error) {
	response, err := http.Get(target + "/sandbox/messages?to=" + url.QueryEscape(mobile))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var list struct {
		Data []struct{ Code string }
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return "", err
	}
	if len(list.Data) == 0 {
		return "", fmt.Errorf("no message to %s", mobile)
	}
	return list.Data[0].Code, nil
}

func verified(ctx context.Context, api *ClientWithResponses) error {
	challenge, err := send(ctx, api)
	if err != nil {
		return err
	}
	code, err := received()
	if err != nil {
		return err
	}
	wrong, err := api.VerifyWithResponse(ctx, nil, VerifyRequest{Id: &challenge.Id, Code: "0000" + code})
	if err != nil {
		return err
	}
	if wrong.JSON200 == nil {
		return fmt.Errorf("a wrong code: %s %s", wrong.Status(), wrong.Body)
	}
	mismatch, err := wrong.JSON200.AsMismatch()
	if err != nil || bool(mismatch.Valid) || mismatch.Reason != MISMATCH || mismatch.AttemptsRemaining < 1 {
		return fmt.Errorf("a wrong code: %s %v", wrong.Body, err)
	}
	right, err := api.VerifyWithResponse(ctx, nil, VerifyRequest{Id: &challenge.Id, Code: code})
	if err != nil {
		return err
	}
	if right.JSON200 == nil {
		return fmt.Errorf("the code: %s %s", right.Status(), right.Body)
	}
	proof, err := right.JSON200.AsVerified()
	if err != nil || !bool(proof.Valid) || proof.Attempts != 1 || proof.Receipt == "" || proof.VerifiedAt.IsZero() {
		return fmt.Errorf("the code: %s %v", right.Body, err)
	}
	stands, err := api.StatusWithResponse(ctx, challenge.Id, nil)
	if err != nil {
		return err
	}
	if stands.JSON200 == nil || stands.JSON200.Status != StatusVerified || len(stands.JSON200.Sends) != 1 {
		return fmt.Errorf("status: %s %s", stands.Status(), stands.Body)
	}
	return nil
}

func canceled(ctx context.Context, api *ClientWithResponses) error {
	challenge, err := send(ctx, api)
	if err != nil {
		return err
	}
	again, err := api.ResendWithResponse(ctx, nil, ResendRequest{Id: &challenge.Id})
	if err != nil {
		return err
	}
	if again.JSON200 == nil || !again.JSON200.ExpiresAt.Equal(challenge.ExpiresAt) {
		return fmt.Errorf("resend: %s %s", again.Status(), again.Body)
	}
	over, err := api.CancelWithResponse(ctx, nil, CancelRequest{To: &mobile})
	if err != nil {
		return err
	}
	if over.JSON200 == nil || over.JSON200.Status != StatusCanceled {
		return fmt.Errorf("cancel: %s %s", over.Status(), over.Body)
	}
	return nil
}
