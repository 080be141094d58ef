package sql

import (
	"github.com/google/uuid"

	"otpbridge/server/otp"
)

// NewID is a time-ordered id (UUID version 7, RFC 9562). Random ones would cost a quarter of
// SQLite's throughput: each would land on another page of its index.
func NewID() otp.ID { return otp.ID(uuid.Must(uuid.NewV7())) }
