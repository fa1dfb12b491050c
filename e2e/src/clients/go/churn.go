// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"errors"
	"flag"
	"math"
	"math/rand"
	"net"
	"os"
	"sync"
	"time"
)

// churned is what has happened since the one before.
type churned struct {
	// CLOCK_REALTIME, ms
	At float64 `json:"at"`
	// connections that were opened, by who answered
	Opened map[string]int `json:"opened"`
	// not established, or without an answer
	Failed int `json:"failed"`
	// ended by somebody else before their time
	Lost int `json:"lost"`
	// the longest connect(), ms
	WorstMs float64 `json:"worstMs"`
	// the last thing that went wrong
	Error string `json:"error,omitempty"`
}

type churner struct {
	address string
	timeout time.Duration
	guard   sync.Mutex
	now     churned
}

// churn is a load: connections are opened at random moments and each lives for a random time, as those of many users do.
func churn(arguments []string) error {
	flags := flag.NewFlagSet("churn", flag.ExitOnError)
	rate := flags.Float64("rate", 100, "connections opened per second on average, one independent of the other")
	mean := flags.Duration("mean", 2*time.Second, "how long one lives on average; the times are exponentially distributed")
	ramp := flags.Duration("ramp", 0, "begin with no connections and reach the rate after this time")
	every := flags.Duration("every", time.Second, "say what has happened so often")
	timeout := flags.Duration("timeout", 3*time.Second, "of connect(), and again of the answer")
	seed := flags.Int64("seed", 1, "of the random numbers")
	flags.Parse(arguments)
	host, port, err := place(flags)
	if err != nil {
		return err
	}
	one := &churner{address: net.JoinHostPort(host, port), timeout: *timeout}
	one.take()
	ticker := time.NewTicker(*every)
	defer ticker.Stop()
	stop := stopped()
	chance := rand.New(rand.NewSource(*seed))
	begin := time.Now()
	// In the time of a load that has reached its rate: while it rises, this goes slower.
	due := time.Duration(0)
	for {
		due += time.Duration(chance.ExpFloat64() / *rate * float64(time.Second))
		life := time.Duration(chance.ExpFloat64() * float64(*mean))
		next := time.After(time.Until(begin.Add(risen(due, *ramp))))
		for waiting := true; waiting; {
			select {
			case <-stop:
				say(one.take())
				return nil
			case <-ticker.C:
				say(one.take())
			case <-next:
				waiting = false
			}
		}
		go one.live(life)
	}
}

// risen is when that happens which at the full rate would happen at `due`, where the rate rises evenly at first.
func risen(due, ramp time.Duration) time.Duration {
	if due >= ramp/2 {
		return due + ramp/2
	}
	return time.Duration(math.Sqrt(2 * float64(ramp) * float64(due)))
}

// live is one connection, from its beginning to its end.
func (one *churner) live(life time.Duration) {
	begin := time.Now()
	connection, err := net.DialTimeout("tcp", one.address, one.timeout)
	connectMs := milliseconds(time.Since(begin))
	if err != nil {
		one.note("", connectMs, err)
		return
	}
	defer connection.Close()
	// By reset: ports of connections that have ended would run out.
	connection.(*net.TCPConn).SetLinger(0)
	name, err := one.nameOf(connection)
	if one.note(name, connectMs, err); err != nil {
		return
	}
	connection.SetReadDeadline(begin.Add(life))
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		one.lost(err)
	}
}

func (one *churner) nameOf(connection net.Conn) (string, error) {
	connection.SetDeadline(time.Now().Add(one.timeout))
	if _, err := connection.Write(question); err != nil {
		return "", err
	}
	answer, err := bufio.NewReaderSize(connection, 128).ReadString('\n')
	name, _ := nameIn(answer)
	if err == nil && name == "" {
		err = errors.New("the answer was " + answer)
	}
	return name, err
}

func (one *churner) note(name string, connectMs float64, err error) {
	one.guard.Lock()
	defer one.guard.Unlock()
	one.now.WorstMs = math.Max(one.now.WorstMs, connectMs)
	if err != nil {
		one.now.Failed++
		one.now.Error = err.Error()
		return
	}
	one.now.Opened[name]++
}

func (one *churner) lost(err error) {
	one.guard.Lock()
	defer one.guard.Unlock()
	one.now.Lost++
	if one.now.Error = "it said something"; err != nil {
		one.now.Error = err.Error()
	}
}

// take returns what has happened since it was called last.
func (one *churner) take() churned {
	one.guard.Lock()
	defer one.guard.Unlock()
	before := one.now
	before.At = wall(time.Now())
	one.now = churned{Opened: map[string]int{}}
	return before
}
