package admin

// accountRoutes are the calls that make, show and change accounts.
var accountRoutes = []route{}
