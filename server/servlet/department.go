package servlet

import (
	"slices"

	"otpbridge/server/otp"
)

// department returns the department that selects the message's template; empty for none. It must be in the account's
// list, so that the header decides nothing else.
func (x *exchange) department() string {
	department, single := one(x.request.Header["Department-Id"])
	if !single || !slices.Contains(x.account.Departments, department) || len(department) > maxDepartment {
		return ""
	}
	return department
}

// maxDepartment is the length of the longest department name that can select a template, in bytes.
const maxDepartment = 200

// departmentMissing reports whether the account requires a department and the request names none from its list. An
// empty list allows any.
func (x *exchange) departmentMissing() bool {
	switch x.account.DepartmentMode {
	case otp.DepartmentRequired:
	case otp.DepartmentRequiredToValidate:
		if x.servlet.step != validate {
			return false
		}
	default:
		return false
	}
	department, single := one(x.request.Header["Department-Id"])
	if !single || department == "" {
		return true
	}
	return len(x.account.Departments) > 0 && !slices.Contains(x.account.Departments, department)
}

// departmentReason says what is wrong with the request's department.
func (x *exchange) departmentReason() string {
	department, single := one(x.request.Header["Department-Id"])
	switch {
	case !single:
		return "department-id: given twice, differently"
	case department == "":
		return "department-id: missing"
	}
	return "department-id: not on the account's list"
}
