package console

import "otpbridge/server/engine"

// systemPages show the server itself.
var systemPages = []route{
	{method: get, path: "system", who: person, serve: (*exchange).system},
}

func (x *exchange) system() error {
	return x.show("system", "System", struct {
		Version string
		Checks  []engine.Check
	}{x.door.Version, x.door.Engine.Ready(x.ctx)})
}
