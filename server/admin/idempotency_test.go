package admin

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

const onceHeader = "Idempotency-Key"

// A client that did not get its answer asks again with the same key: what it made is made once, and it learns the
// secrets.
func TestIdempotency_ARepeatedCallMakesOneThing(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	d.shop(t, "4712", who)
	for path, body := range map[string]string{
		"/api/keys":             `{"account":"4711","name":"shop"}`,
		"/api/people":           `{"email":"dev@shop.example","role":"developer"}`,
		"/api/service-accounts": `{"name":"bot","role":"auditor"}`,
		"/api/webhooks":         `{"account":"4711","url":"https://shop.example/hooks","events":["*"]}`,
		"/api/accounts":         `{"esme_address":"4713","make_secrets":true}`,
	} {
		key := append(who, onceHeader, "order 17 "+path)
		first := d.wants(t, 201, "", "POST", path, body, key...)
		require.Empty(t, first.header.Get("Idempotent-Replayed"), path)
		again := d.wants(t, 201, "", "POST", path, body, key...)
		require.Equal(t, first.text, again.text, path)
		require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"), path)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), path)
		d.wants(t, 422, "IDEMPOTENCY_MISMATCH", "POST", path, strings.Replace(body, `"`, ` "`, 1), key...)
	}
	require.Len(t, d.stored(t), 2, "a key, and the account's access key")

	// A key is for one call of one person, and a refused call does not use it up.
	key := append(who, onceHeader, "k")
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", `{"account":"4711","nme":"shop"}`, key...)
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/keys", `{"account":"1"}`, key...)
	one := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711"}`, key...).member("id")
	two := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4712"}`, append(who, onceHeader, "l")...).member("id")
	rotate := append(who, onceHeader, "rotate")
	next := d.wants(t, 201, "", "POST", "/api/keys/"+one+"/rotate", "", rotate...)
	require.Equal(t, next.text, d.wants(t, 201, "", "POST", "/api/keys/"+one+"/rotate", "", rotate...).text)
	d.wants(t, 422, "IDEMPOTENCY_MISMATCH", "POST", "/api/keys/"+two+"/rotate", "", rotate...)
	_, bot := d.serviceAccount(t, people.Grant{Role: people.Admin})
	other := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711"}`, append(bot, onceHeader, "k")...)
	require.NotEqual(t, one, other.member("id"))

	for _, wrong := range []string{"", "ü", strings.Repeat("k", 256)} {
		d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", `{"account":"4711"}`, append(who, onceHeader, wrong)...)
	}
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", `{"account":"4711"}`,
		append(who, onceHeader, "m", onceHeader, "m")...)
	require.NotContains(t, d.log.String(), next.member("key"))
	file, err := os.ReadFile(d.file)
	require.NoError(t, err)
	require.NotContains(t, string(file), next.member("key"), "a stored answer is sealed")
}

func TestIdempotency_ManyAtOnceMakeOneKeyRace(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	answers, replays := map[string]int{}, 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			got := d.raw("POST", "/api/keys", `{"account":"4711"}`, append(slices.Clone(who), onceHeader, "one")...)
			mu.Lock()
			defer mu.Unlock()
			answers[got.Body.String()]++
			if got.Header().Get("Idempotent-Replayed") == "true" {
				replays++
			}
		})
	}
	all.Wait()
	require.Len(t, answers, 1, "%v", answers)
	require.Equal(t, 15, replays)
	require.Len(t, d.stored(t), 1)
}

// Every call that makes or sends something takes an Idempotency-Key, except those about a person's own login, whose
// answers are that person's secrets. No other call takes one.
func TestIdempotency_IsForAllCallsThatMakeOrSend(t *testing.T) {
	senders := []string{"/api/accounts/:account/send-test", "/api/webhooks/:webhook/test",
		"/api/webhooks/:webhook/replay", "/api/webhooks/:webhook/rotate"}
	for _, r := range routes {
		path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.path, "{$1}")
		operation := openapi(t).Paths.Value(path).Operations()[r.method]
		require.NotNil(t, operation, r.path)
		makes := r.method == http.MethodPost && r.needs != "" && operation.Responses.Status(http.StatusCreated) != nil
		sends := r.method == http.MethodPost && slices.Contains(senders, r.path)
		require.Equal(t, makes || sends, r.once, "%s %s", r.method, r.path)
		require.Equal(t, r.once, operation.Parameters.GetByInAndName("header", onceHeader) != nil, "%s %s", r.method, r.path)
		if r.once {
			require.NotNil(t, operation.Responses.Status(http.StatusConflict), r.path)
			require.NotNil(t, operation.Responses.Status(http.StatusUnprocessableEntity), r.path)
		}
	}
}
