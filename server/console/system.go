package console

import "otpbridge/server/engine"

// systemPages are about the server itself.
var systemPages = []route{
	{get, "system", person, "", (*exchange).system},
}

func (x *exchange) system() error {
	return x.show("system", "System", struct {
		Version string
		Checks  []engine.Check
	}{x.door.Version, x.door.Engine.Ready(x.ctx)})
}
