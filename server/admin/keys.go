package admin

// keyRoutes are the calls that make, show and end credentials.
var keyRoutes = []route{}
