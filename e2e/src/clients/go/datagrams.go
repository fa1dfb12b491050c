// SPDX-License-Identifier: Apache-2.0
package main

import (
	"flag"
	"fmt"
	"sync"
	"syscall"
	"time"
)

func datagrams(arguments []string) error {
	flags := flag.NewFlagSet("udp", flag.ExitOnError)
	var when schedule
	when.flags(flags)
	timeout := flags.Duration("timeout", time.Second, "of the answer; nothing is sent again")
	family := flags.String("family", "auto", "of the socket: auto, 4, 6 or mapped (an IPv6 socket for an IPv4 address)")
	connected := flags.Bool("connected", false, "connect() the socket; without it sendto() and recvfrom()")
	keep := flags.Bool("keep", false, "one socket for all, one attempt at a time; without it each attempt has its own")
	flags.Parse(arguments)
	host, port, err := place(flags)
	if err != nil {
		return err
	}
	to, err := targetOf(host, port, *family)
	if err != nil {
		return err
	}
	if !*keep {
		when.run(func() {
			socket := datagramSocket{to: to, connected: *connected, descriptor: -1}
			say(socket.ask(*timeout))
			socket.close()
		})
		return nil
	}
	kept := datagramSocket{to: to, connected: *connected, descriptor: -1}
	defer kept.close()
	var turn sync.Mutex
	when.run(func() {
		turn.Lock()
		defer turn.Unlock()
		say(kept.ask(*timeout))
	})
	return nil
}

type datagramSocket struct {
	to        target
	connected bool
	// -1 until it is opened
	descriptor int
}

func (socket *datagramSocket) close() {
	if socket.descriptor >= 0 {
		syscall.Close(socket.descriptor)
	}
}

func (socket *datagramSocket) open(result *attempt, deadline time.Time) (err error) {
	if socket.descriptor, err = openSocket(socket.to.family, syscall.SOCK_DGRAM); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if !socket.connected {
		return nil
	}
	begin := time.Now()
	err = connectBy(socket.descriptor, socket.to.address, deadline)
	result.ConnectMs = milliseconds(time.Since(begin))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func (socket *datagramSocket) ask(timeout time.Duration) (result attempt) {
	begin := time.Now()
	deadline := begin.Add(timeout)
	result.At = wall(begin)
	defer func() { result.Ms = milliseconds(time.Since(begin)) }()
	if socket.descriptor < 0 {
		if err := socket.open(&result, deadline); err != nil {
			result.Error = err.Error()
			return
		}
	}
	if err := socket.send(); err != nil {
		result.Error = "send: " + err.Error()
		return
	}
	data := make([]byte, 2048)
	length, from, err := receiveBy(socket.descriptor, data, deadline)
	if err != nil {
		result.Error = "receive: " + err.Error()
		return
	}
	result.Local = text(syscall.Getsockname(socket.descriptor))
	if result.Peer = text(from, nil); socket.connected {
		result.Peer = text(syscall.Getpeername(socket.descriptor))
	}
	result.Name, result.Seen = nameIn(string(data[:length]))
	if result.Name == "" {
		result.Error = fmt.Sprintf("receive: the answer was %q", data[:length])
	}
	return
}

func (socket *datagramSocket) send() error {
	if socket.connected {
		_, err := syscall.Write(socket.descriptor, question)
		return err
	}
	return syscall.Sendto(socket.descriptor, question, 0, socket.to.address)
}
