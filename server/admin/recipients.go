package admin

// recipientRoutes are the calls that help recipients, and stop or allow sends.
var recipientRoutes = []route{}
