// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bytes"
	"flag"
	"fmt"
	"syscall"
	"time"
)

var question = []byte("who\n")

func loop(arguments []string) error {
	flags := flag.NewFlagSet("loop", flag.ExitOnError)
	var when schedule
	when.flags(flags)
	timeout := flags.Duration("timeout", 3*time.Second, "of connect(), and again of the answer")
	family := flags.String("family", "auto", "of the socket: auto, 4, 6 or mapped (an IPv6 socket for an IPv4 address)")
	abort := flags.Bool("abort", false, "close by reset: no TIME_WAIT, so local ports do not run out at high rates")
	flags.Parse(arguments)
	host, port, err := place(flags)
	if err != nil {
		return err
	}
	to, err := targetOf(host, port, *family)
	if err != nil {
		return err
	}
	when.run(func() { say(connectAndAsk(to, *timeout, *abort)) })
	return nil
}

// connectAndAsk makes one connection, is told a name, and closes.
func connectAndAsk(to target, timeout time.Duration, abort bool) (result attempt) {
	descriptor, err := openSocket(to.family, syscall.SOCK_STREAM)
	begin := time.Now()
	result.At = wall(begin)
	defer func() { result.Ms = milliseconds(time.Since(begin)) }()
	if err != nil {
		result.Error = "socket: " + err.Error()
		return
	}
	defer syscall.Close(descriptor)
	if abort {
		syscall.SetsockoptLinger(descriptor, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	}
	err = connectBy(descriptor, to.address, begin.Add(timeout))
	result.ConnectMs = milliseconds(time.Since(begin))
	if err != nil {
		result.Error = "connect: " + err.Error()
		return
	}
	result.Local = text(syscall.Getsockname(descriptor))
	result.Peer = text(syscall.Getpeername(descriptor))
	answer, err := exchange(descriptor, time.Now().Add(timeout))
	if err != nil {
		result.Error = "ask: " + err.Error()
		return
	}
	result.Name, result.Seen = nameIn(answer)
	if result.Name == "" {
		result.Error = fmt.Sprintf("ask: the answer was %q", answer)
	}
	return
}

// exchange asks on a connected stream socket and reads a line.
func exchange(descriptor int, deadline time.Time) (string, error) {
	// Never short, never blocking: these are the first four bytes.
	if _, err := syscall.Write(descriptor, question); err != nil {
		return "", err
	}
	var answer []byte
	data := make([]byte, 512)
	for !bytes.HasSuffix(answer, []byte("\n")) {
		length, _, err := receiveBy(descriptor, data, deadline)
		if err != nil {
			return "", err
		}
		if length == 0 {
			return "", fmt.Errorf("closed after %q", answer)
		}
		answer = append(answer, data[:length]...)
	}
	return string(answer), nil
}
