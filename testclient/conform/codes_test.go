package conform

import (
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// Gateways send in many ways; each of these is a message with the code 482913.
func TestInbox_FindsTheCodeHoweverItComes(t *testing.T) {
	for name, send := range map[string]func(address string) (*http.Response, error){
		"query": func(a string) (*http.Response, error) {
			return http.Get(a + "?user=acme&id=99887766&dest=919876543210&text=482913+is+your+code")
		},
		"bare parameters": func(a string) (*http.Response, error) {
			return http.Get(a + "?to=%2B919876543210&otp=482913")
		},
		"form": func(a string) (*http.Response, error) {
			return http.Post(a+"sms/send", formType, strings.NewReader("mobile=9876543210&message=Your+code+is+482913."))
		},
		"JSON": func(a string) (*http.Response, error) {
			return http.Post(a, "application/json",
				strings.NewReader(`{"messages":[{"recipient":"+91 98765 43210","text":"Use 482913 within 5 minutes"}],"batch":"1234567"}`))
		},
		"text": func(a string) (*http.Response, error) {
			return http.Post(a, "text/plain", strings.NewReader("To: 919876543210\nYour code is 482913"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			box, err := NewInbox("127.0.0.1:0")
			require.NoError(t, err)
			defer box.Close()
			began := time.Now()
			for range 1 {
				other, err := http.Get(box.URL() + "?to=919999999999&text=111111+is+the+code+of+somebody+else")
				require.NoError(t, err)
				other.Body.Close()
			}
			go func() {
				if response, err := send(box.URL()); err == nil {
					response.Body.Close()
				}
			}()
			code, err := box.Code(t.Context(), Wanted{Mobile: "919876543210", After: began})
			require.NoError(t, err)
			require.Equal(t, "482913", code)
		})
	}
}

func TestInbox_ATakenAddressIsExplained(t *testing.T) {
	box, err := NewInbox("127.0.0.1:0")
	require.NoError(t, err)
	defer box.Close()
	_, err = NewInbox(box.addr)
	require.ErrorContains(t, err, "free port")
}

func TestCommandCodes(t *testing.T) {
	needs(t, "sh")
	sent := time.Now()
	code, err := CommandCodes(`printf '%s\n' 4711"$0" | cut -c1-4; :`).Code(t.Context(),
		Wanted{Mobile: "917", After: sent})
	require.NoError(t, err)
	require.Equal(t, "4711", code)
	code, err = CommandCodes("echo").Code(t.Context(), Wanted{Mobile: "9170000", After: sent})
	require.NoError(t, err)
	require.Equal(t, "9170000", code, "the number is the argument")
	_, err = CommandCodes("echo no such number >&2; false").Code(t.Context(), Wanted{Mobile: "9170000"})
	require.ErrorContains(t, err, "no such number")
}

func TestAskedCodes_AskOncePerMessageUntilItIsACode(t *testing.T) {
	var out strings.Builder
	source := AskedCodes(strings.NewReader("what?\n482913\n593024\n"), &out)
	first := Wanted{Mobile: "917000000000", After: time.Now()}
	for range 2 {
		code, err := source.Code(t.Context(), first)
		require.NoError(t, err)
		require.Equal(t, "482913", code)
	}
	code, err := source.Code(t.Context(), Wanted{Mobile: "917000000000", After: time.Now().Add(time.Second)})
	require.NoError(t, err)
	require.Equal(t, "593024", code)
	require.Equal(t, 3, strings.Count(out.String(), "917000000000"))
	_, err = source.Code(t.Context(), Wanted{Mobile: "917000000001"})
	require.ErrorContains(t, err, "nobody types")
}
