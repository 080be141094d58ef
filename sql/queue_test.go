package sql

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// slowly is a queue whose batches take a while, with a fake clock.
type slowly struct {
	*queue
	t       *testing.T
	takes   func(batch []*Operation) time.Duration
	refused int

	mu      sync.Mutex
	decided []*Operation // in order
	at      map[*Operation]time.Time
	ended   chan struct{}
}

func newSlowly(t *testing.T, takes func([]*Operation) time.Duration) *slowly {
	s := &slowly{t: t, takes: takes, at: map[*Operation]time.Time{}, ended: make(chan struct{})}
	s.queue = newQueue(func(*otp.Error) { s.refused++ })
	return s
}

// commits takes batches until the queue is closed, as the store does.
func (s *slowly) commits() {
	defer close(s.ended)
	var batch []*Operation
	for s.wait() {
		batch = s.cut(batch[:0])
		if len(batch) == 0 {
			continue
		}
		began := time.Now()
		s.mu.Lock()
		for _, op := range batch {
			s.at[op] = began
		}
		s.decided = append(s.decided, batch...)
		s.mu.Unlock()
		time.Sleep(s.takes(batch))
		s.measure(time.Since(began))
		for _, op := range batch {
			op.done <- struct{}{}
		}
	}
}

func (s *slowly) ask(rank Rank) (*Operation, error) {
	op := &Operation{Rank: rank, done: make(chan struct{}, 1)}
	if err := s.put(op); err != nil {
		return op, err
	}
	<-op.done
	return op, op.err
}

// begun returns when op's batch began.
func (s *slowly) begun(op *Operation) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[op]
}

func always(d time.Duration) func([]*Operation) time.Duration {
	return func([]*Operation) time.Duration { return d }
}

// Ten times the load that a database can commit: what is admitted is answered soon, the rest is refused at once or
// when its time has passed, and nothing is decided for callers that no longer wait.
func TestQueue_UnderTenTimesItsCapacity(t *testing.T) {
	for _, takes := range []time.Duration{20, 50, 100, 250, 400, 700, 950} {
		t.Run((takes * time.Millisecond).String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, always(takes*time.Millisecond))
				s.measure(takes * time.Millisecond)
				go s.commits()
				// During each batch ten batches of operations arrive, half of them sends.
				var asking sync.WaitGroup
				var mu sync.Mutex
				var waits []time.Duration
				offered, refused, late := 0, 0, 0
				const batches = 25
				for range batches {
					for n := range 10 * maxBatch {
						offered++
						asking.Go(func() {
							asked := time.Now()
							op, err := s.ask(Rank(n % 2))
							took := time.Since(asked)
							mu.Lock()
							defer mu.Unlock()
							switch {
							case err != nil:
								require.Equal(t, otp.Overloaded, otp.KindOf(err))
								refused++
							case s.begun(op).After(op.deadline):
								late++
							default:
								waits = append(waits, took)
							}
						})
					}
					time.Sleep(takes * time.Millisecond)
				}
				asking.Wait()
				s.close()
				<-s.ended
				require.Zero(t, late, "decided after its deadline")
				require.Equal(t, offered, len(waits)+refused)
				require.Equal(t, refused, s.refused, "each is counted")
				require.Len(t, s.decided, len(waits), "nothing is decided for those who were refused")
				require.GreaterOrEqual(t, len(waits), batches*maxBatch*8/10, "of the capacity")
				for _, wait := range waits {
					require.LessOrEqual(t, wait, patience+takes*time.Millisecond)
				}
				if takes <= 100 {
					within := 0
					for _, wait := range waits {
						if wait < time.Second {
							within++
						}
					}
					require.GreaterOrEqual(t, within*100, len(waits)*99)
				}
			})
		})
	}
}

// Clients that wait for each answer before the next request are not refused while the queue can answer all of them
// within its target time. A send and a guess follow each other, so half of a batch is guesses: sends have to expect
// that, not the batch that happens to be next.
//
// The order within one moment is random, and now and then a whole batch of guesses comes first: so one in a thousand
// may be refused. The average is one in ten thousand; it would be one in 160 if the expectation were the number of
// guesses that wait at the moment.
func TestQueue_RefusesOneInAThousandOfSoManyClientsThatItCanAnswer(t *testing.T) {
	refused, decided := 0, 0
	for _, c := range []struct{ clients, takes int }{
		{1, 20}, {64, 20}, {64, 400}, {300, 200}, {512, 150}, {768, 75}, {768, 100}, {900, 75}, {1024, 50}, {1024, 65},
		{1280, 40}, {1536, 35}, {1536, 40}, {2048, 20}, {2048, 30}, {3000, 15}, {3000, 20}, {4000, 10},
	} {
		t.Run(fmt.Sprintf("%d clients, %d ms", c.clients, c.takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, always(time.Duration(c.takes)*time.Millisecond))
				go s.commits()
				var asking sync.WaitGroup
				end := time.Now().Add(5 * time.Second)
				for n := range c.clients {
					asking.Go(func() {
						time.Sleep(time.Duration(n) * time.Millisecond) // they are not in step
						for time.Now().Before(end) {
							for _, rank := range []Rank{Sending, Verifying} {
								if _, err := s.ask(rank); err != nil {
									return
								}
							}
						}
					})
				}
				asking.Wait()
				s.close()
				<-s.ended
				refused += s.refused
				decided += len(s.decided)
			})
		})
	}
	t.Logf("%d decided, %d refused", decided, refused)
	require.LessOrEqual(t, refused*1000, decided)
}

// The length follows the time of a batch, both ways, between the size of a batch and QueueLength.
func TestQueue_ItsLengthFollowsTheTimeOfABatch(t *testing.T) {
	q := newQueue(func(*otp.Error) {})
	require.Equal(t, QueueLength, q.length(Verifying), "nothing is known yet")
	for range 2 * maxBatch {
		require.NoError(t, q.put(&Operation{Rank: Verifying}))
	}
	for _, c := range []struct {
		takes          time.Duration
		guesses, sends int
	}{
		{time.Millisecond, QueueLength, QueueLength},
		{20 * time.Millisecond, QueueLength, 25 * guaranteed},
		{50 * time.Millisecond, 10 * maxBatch, 10 * guaranteed},
		{200 * time.Millisecond, 5 * maxBatch / 2, 5 * guaranteed / 2},
		{600 * time.Millisecond, maxBatch, guaranteed},
		{time.Minute, maxBatch, guaranteed},
		{time.Millisecond, QueueLength, QueueLength},
	} {
		for range 100 {
			q.measure(c.takes)
		}
		require.InDelta(t, c.guesses, q.length(Verifying), 10, c.takes)
		require.InDelta(t, c.sends, q.length(Sending), 40, "%v, with more guesses than a batch before them", c.takes)
	}
	q.measure(10 * time.Second)
	require.Equal(t, maxBatch, q.length(Verifying))
	for n := 0; q.length(Verifying) < QueueLength; n++ {
		require.Less(t, n, 30, "one slow batch is soon forgotten")
		q.measure(time.Millisecond)
	}
}

// Operations with higher priority leave less room in the batches, and the length follows that too: with commits of 50
// ms, ten batches fit in the available time.
func TestQueue_ItsLengthFollowsWhatGoesFirst(t *testing.T) {
	for _, c := range []struct{ settling, guesses, sends, wantGuesses, wantSends int }{
		{0, 0, 0, 256, 256},
		{0, 0, 10, 256, 256},
		{0, 10, 0, 256, 246},
		{0, 128, 128, 256, 128},
		{0, 200, 200, 256, 64},
		{0, 256, 0, 256, 64},
		{64, 0, 0, 192, 192},
		{64, 64, 64, 192, 128},
		{128, 64, 64, 128, 64},
		{128, 128, 0, 128, 64},
		{200, 10, 10, 64, 64},
		{256, 0, 0, 64, 64},
	} {
		q := newQueue(func(*otp.Error) {})
		q.measure(50 * time.Millisecond)
		for range 200 {
			for rank, n := range map[Rank]int{Settling: c.settling, Verifying: c.guesses, Sending: c.sends} {
				for range n - q.lanes[rank].len() {
					require.NoError(t, q.put(&Operation{Rank: rank, done: make(chan struct{}, 1)}))
				}
			}
			q.cut(nil)
		}
		clear(q.lanes[:])
		require.InDelta(t, 10*c.wantGuesses, q.length(Verifying), 2, "%+v", c)
		require.InDelta(t, 10*c.wantSends, q.length(Sending), 2, "%+v", c)
	}
}

// The content of a batch while more waits than it holds.
func TestQueue_GuessesGoBeforeSendsAndWhatIsOwedGoesFirst(t *testing.T) {
	for name, c := range map[string]struct{ settling, guesses, sends, wantSettling, wantGuesses, wantSends int }{
		"nothing":                     {0, 0, 0, 0, 0, 0},
		"a little of each":            {3, 4, 5, 3, 4, 5},
		"sends alone":                 {0, 0, 1000, 0, 0, maxBatch},
		"guesses alone":               {0, 1000, 0, 0, maxBatch, 0},
		"many of both":                {0, 1000, 1000, 0, maxBatch - guaranteed, guaranteed},
		"few sends":                   {0, 1000, 3, 0, maxBatch - 3, 3},
		"few guesses":                 {0, 3, 1000, 0, 3, maxBatch - 3},
		"what is owed goes first":     {100, 1000, 1000, 100, maxBatch - guaranteed - 100, guaranteed},
		"and may fill a batch":        {1000, 1000, 1000, maxBatch, 0, 0},
		"or nearly":                   {maxBatch - 10, 1000, 1000, maxBatch - 10, 0, 10},
		"one of each":                 {1, 1, 1, 1, 1, 1},
		"owed, with guesses to spare": {maxBatch - 1, 10, 0, maxBatch - 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(func(*otp.Error) {})
			for rank, n := range map[Rank]int{Settling: c.settling, Verifying: c.guesses, Sending: c.sends} {
				for range n {
					require.NoError(t, q.put(&Operation{Rank: rank, done: make(chan struct{}, 1)}))
				}
			}
			got := map[Rank]int{}
			for _, op := range q.cut(nil) {
				got[op.Rank]++
			}
			taken := got[Settling] + got[Verifying] + got[Sending]
			require.Equal(t, map[Rank]int{Settling: c.wantSettling, Verifying: c.wantGuesses, Sending: c.wantSends},
				map[Rank]int{Settling: got[Settling], Verifying: got[Verifying], Sending: got[Sending]})
			require.Equal(t, c.settling+c.guesses+c.sends-len(q.cut(nil)), q.len()+taken, "none is lost")
		})
	}
}

func TestQueue_KeepsTheOrderOfEachRank(t *testing.T) {
	q := newQueue(func(*otp.Error) {})
	var put, taken []*Operation
	for range 20 { // past the point where a lane moves up
		for range 500 {
			op := &Operation{Rank: Verifying, done: make(chan struct{}, 1)}
			require.NoError(t, q.put(op))
			put = append(put, op)
		}
		for q.len() > 100 {
			taken = append(taken, q.cut(nil)...)
		}
	}
	for q.len() > 0 {
		taken = append(taken, q.cut(nil)...)
	}
	require.Equal(t, put, taken)
}

// A refund must not be lost because callers come faster than the database commits.
func TestQueue_RefusesNothingThatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, always(3*time.Second)) // nothing can be answered in time
		go s.commits()
		var asking sync.WaitGroup
		for range 3 * QueueLength {
			asking.Go(func() { s.ask(Sending) })
			asking.Go(func() { s.ask(Verifying) })
		}
		time.Sleep(time.Second)
		for range 1000 {
			asking.Go(func() {
				_, err := s.ask(Settling)
				require.NoError(t, err)
			})
		}
		asking.Wait()
		s.close()
		<-s.ended
	})
}

// If a database stalled and is fast again, the queue notices although the time of all operations had passed.
func TestQueue_RecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		takes.Store(int64(time.Minute))
		s := newSlowly(t, func([]*Operation) time.Duration { return time.Duration(takes.Load()) })
		go s.commits()
		var asking sync.WaitGroup
		flood := func() {
			for range 2 * QueueLength {
				asking.Go(func() { s.ask(Sending) })
			}
		}
		flood()
		time.Sleep(time.Second)
		takes.Store(int64(time.Millisecond))
		time.Sleep(time.Minute)
		recovered := time.Now()
		for s.mayWait(Sending) < QueueLength {
			flood()
			time.Sleep(10 * time.Millisecond)
			require.Less(t, time.Since(recovered), 3*time.Second)
		}
		asking.Wait()
		s.close()
		<-s.ended
	})
}

// An operation whose time passed while the store was busy is refused: nothing of it was decided.
func TestDo_RefusesUndecidedWhatCannotBeAnsweredInTime(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		expired, _ := generate(nextID(), nextID(), policy, noon)
		decide := expired.Decide
		expired.Decide = func(state *State) error { t.Error("decided"); return decide(state) }
		owed, _ := generate(nextID(), nextID(), policy, noon)
		owed.Rank = Settling
		first, _ := generate(nextID(), nextID(), policy, noon)
		entered, leave := make(chan struct{}), make(chan struct{})
		inner := first.Decide
		first.Decide = func(state *State) error { // the store is busy with its batch
			close(entered)
			<-leave
			return inner(state)
		}
		var asking sync.WaitGroup
		asking.Go(func() { require.NoError(t, s.Do(first)) })
		<-entered
		asking.Go(func() { require.Equal(t, otp.Overloaded, otp.KindOf(s.Do(expired))) })
		asking.Go(func() { require.NoError(t, s.Do(owed)) })
		require.Eventually(t, func() bool { return s.queue.len() == 2 }, 10*time.Second, time.Millisecond)
		s.queue.mu.Lock()
		expired.deadline = time.Now()
		s.queue.mu.Unlock()
		close(leave)
		asking.Wait()
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM challenges`))
	})
}

// mayWait is length for callers without the lock.
func (q *queue) mayWait(rank Rank) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.length(rank)
}
