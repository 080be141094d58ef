package servlet_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// says returns the text of a server's answer to a generate for a number.
func says(client *http.Client, server, key, mobile string) (string, error) {
	r, err := http.NewRequest("POST", server+"/otpauthapi/otpgenservlet?ipaddress=10.20.51.122&mobile="+mobile, nil)
	if err != nil {
		return "", err
	}
	r.Header["access_key"] = []string{key}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// Calls that wait for a hanging upstream do not affect other accounts, whether those are answered here or by a working
// upstream.
func TestForward_AHangingUpstreamFailsNoOtherAccountFault(t *testing.T) {
	connections := 50
	if os.Getenv("FULL") == "1" {
		connections = 2000
	}
	const generated = "OTP Generated Successfully"
	var waiting atomic.Int32
	full, release := make(chan struct{}), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if int(waiting.Add(1)) == connections {
			close(full)
		}
		<-release
		_, _ = io.WriteString(w, generated)
	}))
	defer hanging.Close()
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo() // before Close, which waits for the calls
	front := newSide(t, forwarding(hanging.URL), asItIs)
	front.deadline = otp.UpstreamDeadline.Duration()
	server := front.serve(t, asItIs).URL
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, generated)
	}))
	defer well.Close()
	for key, account := range map[string]otp.Account{
		"key-of-the-local-account": otp.DefaultAccount(""), "key-of-the-forwarded-account": forwarding(well.URL)} {
		_, _, err := front.manage.Sandbox.CreateAccount(t.Context(), manage.NewAccount{Account: account,
			AccessKeys: []manage.NewAccessKey{{Key: key}}})
		require.NoError(t, err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var hung sync.WaitGroup
	answers := make([]string, connections)
	for i := range connections {
		hung.Go(func() {
			text, err := says(client, server, bridgedKey, "919551492394")
			answers[i] = fmt.Sprint(text, err)
		})
	}
	select {
	case <-full:
	case <-time.After(time.Minute):
		t.Error("not all calls reached the upstream")
	}
	for i := range 10 {
		for _, key := range []string{"key-of-the-local-account", "key-of-the-forwarded-account"} {
			text, err := says(client, server, key, fmt.Sprintf("91955149%04d", i))
			require.NoError(t, err)
			require.Equal(t, generated, text, key)
		}
	}
	require.EqualValues(t, connections, waiting.Load())
	letGo()
	hung.Wait()
	require.Equal(t, slices.Repeat([]string{generated + "<nil>"}, connections), answers)
}

// BenchmarkForward measures the cost of forwarding a call, compared with calling the upstream directly: 64
// connections, each of which makes one call of either kind in turn 20 times a second, so that the machine is not
// saturated.
func BenchmarkForward(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "OTP Generated Successfully")
	}))
	defer upstream.Close()
	front := newSide(b, forwarding(upstream.URL+"/otpauthapi"), asItIs)
	const connections = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var calls atomic.Int64
	var all sync.WaitGroup
	var took [connections][2][]time.Duration // of the upstream, and through the front
	b.ResetTimer()
	for i := range connections {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond / connections)
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for calls.Add(1) <= int64(b.N) {
				<-pace.C
				for side, server := range []string{upstream.URL, front.server.URL} {
					began := time.Now()
					text, err := says(client, server, bridgedKey, "919551492394")
					if err != nil || text != "OTP Generated Successfully" {
						b.Errorf("answered %q, %v", text, err)
						return
					}
					took[i][side] = append(took[i][side], time.Since(began))
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	var median [2]float64
	for side := range median {
		var times []time.Duration
		for i := range took {
			times = append(times, took[i][side]...)
		}
		slices.Sort(times)
		median[side] = times[len(times)/2].Seconds() * 1000
	}
	b.ReportMetric(median[0], "ms-direct")
	b.ReportMetric(median[1], "ms-forward")
	b.ReportMetric(median[1]-median[0], "ms-added")
}
