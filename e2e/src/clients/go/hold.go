// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"flag"
	"net"
	"os"
	"sync"
	"time"
)

// held is what became of one connection that is kept open.
type held struct {
	// opened, lost (the other end or the kernel ended it) or closed (by us, when it was time)
	Event string `json:"event"`
	// counted from 0
	Connection int `json:"connection"`
	// CLOCK_REALTIME, ms
	At        float64 `json:"at"`
	ConnectMs float64 `json:"connectMs"`
	Name      string  `json:"name,omitempty"`
	Seen      string  `json:"seen,omitempty"`
	Peer      string  `json:"peer,omitempty"`
	Local     string  `json:"local,omitempty"`
	Answers   int     `json:"answers"`
	// the longest that a question waited for its answer, ms; of a lost one also the question that had none
	WorstMs float64 `json:"worstMs"`
	Error   string  `json:"error,omitempty"`
}

func hold(arguments []string) error {
	flags := flag.NewFlagSet("hold", flag.ExitOnError)
	connections := flags.Int("connections", 1, "how many")
	every := flags.Duration("every", 100*time.Millisecond, "ask on each so often; 0: once, then be silent")
	timeout := flags.Duration("timeout", 3*time.Second, "of connect()")
	duration := flags.Duration("for", 0, "close them after this time; 0: when it is told to end")
	flags.Parse(arguments)
	host, port, err := place(flags)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		asked := stopped()
		if *duration == 0 {
			<-asked
			return
		}
		select {
		case <-asked:
		case <-time.After(*duration):
		}
	}()
	var running sync.WaitGroup
	for number := 0; number < *connections; number++ {
		running.Add(1)
		go func(number int) {
			defer running.Done()
			one := held{Connection: number}
			one.keep(net.JoinHostPort(host, port), *timeout, *every, stop)
		}(number)
	}
	running.Wait()
	return nil
}

// tell says what has happened to it by now.
func (one *held) tell(event string, err error) {
	one.Event, one.At = event, wall(time.Now())
	if err != nil {
		one.Error = err.Error()
	}
	say(one)
}

// keep holds one connection until it is lost or it is time to stop. A reader always waits: an end is noticed at once.
func (one *held) keep(address string, timeout, every time.Duration, stop <-chan struct{}) {
	begin := time.Now()
	connection, err := net.DialTimeout("tcp", address, timeout)
	one.ConnectMs = milliseconds(time.Since(begin))
	if err != nil {
		one.tell("lost", err)
		return
	}
	defer connection.Close()
	one.Peer, one.Local = connection.RemoteAddr().String(), connection.LocalAddr().String()
	answers, ended := make(chan string), make(chan error, 1)
	go func() {
		reader := bufio.NewReader(connection)
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				ended <- err
				return
			}
			answers <- line
		}
	}()
	for {
		asked := time.Now()
		if _, err := connection.Write(question); err != nil {
			one.tell("lost", err)
			return
		}
		select {
		case line := <-answers:
			one.answered(line, time.Since(asked))
		case err := <-ended:
			one.waited(time.Since(asked))
			one.tell("lost", err)
			return
		case <-stop:
			one.finish(answers, ended, asked)
			return
		}
		var next <-chan time.Time
		if every > 0 {
			next = time.After(every - time.Since(asked))
		}
		select {
		case <-next:
		case err := <-ended:
			one.tell("lost", err)
			return
		case <-stop:
			one.tell("closed", nil)
			return
		}
	}
}

// finish waits for the answer that is still owed, for a while.
func (one *held) finish(answers <-chan string, ended <-chan error, asked time.Time) {
	select {
	case line := <-answers:
		one.answered(line, time.Since(asked))
		one.tell("closed", nil)
	case err := <-ended:
		one.waited(time.Since(asked))
		one.tell("lost", err)
	case <-time.After(3 * time.Second):
		one.waited(time.Since(asked))
		one.tell("lost", os.ErrDeadlineExceeded)
	}
}

func (one *held) waited(duration time.Duration) {
	if ms := milliseconds(duration); ms > one.WorstMs {
		one.WorstMs = ms
	}
}

func (one *held) answered(line string, after time.Duration) {
	one.waited(after)
	one.Answers++
	if one.Answers == 1 {
		one.Name, one.Seen = nameIn(line)
		one.tell("opened", nil)
		return
	}
	if name, _ := nameIn(line); name != one.Name {
		one.Error = "another one answers: " + line
	}
}
