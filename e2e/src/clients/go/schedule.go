// SPDX-License-Identifier: Apache-2.0
package main

import (
	"flag"
	"fmt"
	"sync"
	"time"
)

// attempt is one try to be told a name.
type attempt struct {
	// when it was begun, CLOCK_REALTIME, ms
	At float64 `json:"at"`
	// how long connect() took, ms, also where it failed; of an unconnected UDP socket 0
	ConnectMs float64 `json:"connectMs"`
	// from its beginning to the answer, or to the failure, ms
	Ms float64 `json:"ms"`
	// who answered
	Name string `json:"name,omitempty"`
	// whom the replica sees
	Seen string `json:"seen,omitempty"`
	// what getpeername() says; of an unconnected UDP socket, whom recvfrom() says the answer is from
	Peer string `json:"peer,omitempty"`
	// what getsockname() says
	Local string `json:"local,omitempty"`
	// which step failed, and how
	Error string `json:"error,omitempty"`
}

// schedule says when attempts begin.
type schedule struct {
	rate     float64
	count    int
	duration time.Duration
	parallel int
}

func (when *schedule) flags(flags *flag.FlagSet) {
	flags.Float64Var(&when.rate, "rate", 0,
		"attempts begun per second, whatever became of those before; 0: each when the one before is done")
	flags.IntVar(&when.parallel, "parallel", 1, "with -rate 0: so many at a time")
	flags.IntVar(&when.count, "count", 0, "end after so many attempts; 0: no limit")
	flags.DurationVar(&when.duration, "for", 0, "begin none after this time; 0: no limit")
}

// run makes attempts until it is time to stop, and returns when all of them are done.
func (when *schedule) run(one func()) {
	begin := time.Now()
	stop := stopped()
	if when.duration > 0 {
		asked := stop
		both := make(chan struct{})
		go func() {
			select {
			case <-asked:
			case <-time.After(when.duration):
			}
			close(both)
		}()
		stop = both
	}
	turns := make(chan struct{})
	var running sync.WaitGroup
	if when.rate > 0 {
		running.Add(1)
		go func() {
			defer running.Done()
			for range turns {
				running.Add(1)
				go func() {
					defer running.Done()
					one()
				}()
			}
		}()
	} else {
		for worker := 0; worker < when.parallel; worker++ {
			running.Add(1)
			go func() {
				defer running.Done()
				for range turns {
					one()
				}
			}()
		}
	}
	when.give(turns, begin, stop)
	close(turns)
	running.Wait()
}

// give hands out turns at their times.
func (when *schedule) give(turns chan<- struct{}, begin time.Time, stop <-chan struct{}) {
	for number := 0; when.count == 0 || number < when.count; number++ {
		if when.rate > 0 {
			due := begin.Add(time.Duration(float64(number) / when.rate * float64(time.Second)))
			select {
			case <-stop:
				return
			case <-time.After(time.Until(due)):
			}
		}
		select {
		case <-stop:
			return
		case turns <- struct{}{}:
		}
	}
}

// place takes HOST and PORT from what is left of the arguments.
func place(flags *flag.FlagSet) (host, port string, err error) {
	if flags.NArg() != 2 {
		return "", "", fmt.Errorf("%s needs HOST and PORT, after its flags", flags.Name())
	}
	return flags.Arg(0), flags.Arg(1), nil
}
