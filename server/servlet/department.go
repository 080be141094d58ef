package servlet

import (
	"slices"

	"otpbridge/server/otp"
)

// department is the one that asks, for the wording of the message: of the account's list, so that
// a header decides nothing else. Empty for none.
func (x *exchange) department() string {
	department, single := one(x.request.Header["Department-Id"])
	if !single || !slices.Contains(x.account.Departments, department) || len(department) > maxDepartment {
		return ""
	}
	return department
}

// maxDepartment is the longest name of a department that templates are chosen by, in bytes.
const maxDepartment = 200

// departmentMissing reports whether the account requires a department here and the request
// names none of its list, an empty list taking any.
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

// departmentReason says what is wrong with the department that is given.
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
