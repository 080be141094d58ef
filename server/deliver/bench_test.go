package deliver

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkGateway sends one message to a gateway on loopback over a kept connection, to measure the cost of sending.
func BenchmarkGateway(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	channel, _, err := open(server.URL+"?to={to}&text={text}", Options{Medium: "sms"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if result := channel.Send(b.Context(), message()); result.Outcome != Sent {
			b.Fatal(result)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	template, err := ParseTemplate("sms", "WebOTP: shop.example\n\n{code} is your code for {account}, for {validity}.")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		template.Render("sms", Values{Code: "493817", Account: "Shop", Lifetime: 5 * time.Minute})
	}
}
