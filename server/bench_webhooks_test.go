//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/webhook"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// BenchmarkWebhooks measures what three webhooks cost their account. Two servers in this process, one with and one
// without them, take turns with cycles of the servlets, whole with HTTP. It reports the median of the turns, in
// percent: %call is how much longer the calls take in all, on 64 connections, and %processor how much more processor
// time a cycle needs. At "waiting" nobody listens at the webhooks' address: their rows are written and wait. At
// "delivered" a cycle has six deliveries, which are waited for. Their receiver is in this process too.
func BenchmarkWebhooks(b *testing.B) {
	for name, url := range map[string]func() string{
		"sqlite":  func() string { return "sqlite:" + filepath.Join(b.TempDir(), "otp.db") },
		"mariadb": func() string { return sqltest.Own(b).SchemaTCP(b) },
	} {
		for kind, each := range map[string]int64{"waiting": 0, "delivered": 3 * 2} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				at := url()
				with, without := startStack(b, at, "OTPBRIDGE_OUTBOUND_NETWORKS=127.0.0.1"), startStack(b, url())
				delivered, db := with.subscribeThree(b, each > 0), sqltest.Connect(b, at).DB
				benchmarkWebhooks(b, with, without, func(cycles int64) {
					within(b, time.Minute, "the deliveries", func() bool { return delivered.Load() >= cycles*each })
					within(b, time.Minute, "the distribution to the webhooks", func() bool {
						var waiting int
						require.NoError(b, db.QueryRow(`SELECT COUNT(*) FROM webhook_events WHERE due_at = 0`).Scan(&waiting))
						return waiting == 0
					})
				})
			})
		}
	}
}

// benchmarkWebhooks compares two servers. wait returns when the deliveries of that many cycles of the first were made.
func benchmarkWebhooks(b *testing.B, with, without *stack, wait func(cycles int64)) {
	cycle := benchServlets(b).Cycle()
	const turns, cycles = 7, 1500
	for _, s := range []*stack{with, without} {
		s.drive(b, cycles, cycle)
	}
	driven := int64(cycles)
	wait(driven)
	b.ResetTimer()
	var calls, costs []float64
	for range turns {
		var took, other time.Duration
		driven += cycles
		cost := processorTime(b, func() {
			took = timeOf(func() { with.drive(b, cycles, cycle) })
			wait(driven)
		}) / processorTime(b, func() { other = timeOf(func() { without.drive(b, cycles, cycle) }) })
		calls, costs = append(calls, 100*(took.Seconds()/other.Seconds()-1)), append(costs, 100*(cost-1))
	}
	slices.Sort(calls)
	slices.Sort(costs)
	b.ReportMetric(calls[turns/2], "%call")
	b.ReportMetric(costs[turns/2], "%processor")
	b.ReportMetric(0, "ns/op") // hide a meaningless number
}

func timeOf(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// subscribeThree makes three webhooks for all events of the load's account, and counts what they get. Without a
// listener nothing answers at their address.
func (s *stack) subscribeThree(t testing.TB, listener bool) *atomic.Int64 {
	t.Helper()
	var delivered atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { delivered.Add(1) }))
	t.Cleanup(receiver.Close)
	if !listener {
		receiver.Close()
	}
	for range 3 {
		_, err := s.webhooks.Create(t.Context(), webhook.Asker{Account: "10000000000001", Actor: manage.Operator().Actor},
			sql.NewID(), webhook.Wish{URL: &receiver.URL})
		require.NoError(t, err)
	}
	return &delivered
}
