package sql

import (
	"github.com/google/uuid"

	"otpbridge/server/otp"
)

// NewID returns a time-ordered id (UUID version 7, RFC 9562). Random ids would cost a quarter of SQLite's throughput,
// because each would be on another page of its index.
func NewID() otp.ID { return otp.ID(uuid.Must(uuid.NewV7())) }
