package console

import (
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
)

// systemPages show the server itself.
var systemPages = []route{
	{method: get, path: "system", who: person, serve: (*exchange).system},
}

// System is what the page System shows of the server besides its checks.
type System struct {
	Version    string
	Mode       string
	Database   string // the scheme of its URL
	Doors      string // those that are open
	SMS, Email []*deliver.Breaker
}

func (x *exchange) system() error {
	return x.show("system", "System", struct {
		System
		Checks []engine.Check
	}{x.door.System, x.door.Engine.Ready(x.ctx)})
}
