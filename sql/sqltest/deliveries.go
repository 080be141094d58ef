package sqltest

// Deliveries is a table for the FROM of a SELECT: of each delivery its owner, challenge and send, and
// in ended how it ended, empty while it is on its way. Where it has no row its server's watermark
// tells, for which each send must be of one medium.
const Deliveries = `(
	SELECT owner, challenge_id, send, outcome AS ended FROM deliveries
	UNION ALL
	SELECT e.watched_by, e.challenge_id, e.send, CASE WHEN e.id >= w.ended_before THEN '' ELSE 'sent' END
	FROM events e
	LEFT JOIN outbox_watermarks w ON w.owner = e.watched_by
	WHERE e.watched_by IS NOT NULL AND (e.challenge_id, e.send) NOT IN (SELECT challenge_id, send FROM deliveries)
) AS all_deliveries`

// Expire makes it as if every lease in the outbox had run out by now.
var Expire = []string{
	`UPDATE deliveries SET leased_until = 1, version = version + 1 WHERE leased_until IS NOT NULL`,
	`UPDATE outbox_watermarks SET leased_until = 1 WHERE leased_until > 0`,
}
