package admin

// staffRoutes are the calls that invite people and change what they may do.
var staffRoutes = []route{}
